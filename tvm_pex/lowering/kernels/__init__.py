"""What one operator does at one moment.

As portable scalar TIR, the same for the c and the llvm target, it is the work of a single output pixel (or, for
reductions, a single input pixel). Windows are clipped to the tensor, so padding costs nothing and reads nothing; the
arithmetic is that of ``tvm_pex.graph``. One module for each kind of operator; ``place`` has what they are told,
``emit_operator`` chooses. Or it is a call of a kernel in C, for a run of pixels of one row: ``external``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm_pex.graph import (
    Add,
    Binary,
    Concat,
    Convolution,
    Dequantize,
    Gather,
    Lookup,
    Operator,
    Pad,
    Patches,
    Pool,
    Quantize,
    Resize,
    Slice,
)
from tvm_pex.lowering.kernels.convolution import convolution, pack_weights
from tvm_pex.lowering.kernels.elementwise import add, binary, dequantize, lookup, quantize
from tvm_pex.lowering.kernels.external import emit_run
from tvm_pex.lowering.kernels.moves import concat, gather, pad, patches, slice_
from tvm_pex.lowering.kernels.place import Expr, Moment, Place, Running, Store, loop_name
from tvm_pex.lowering.kernels.pool import pool
from tvm_pex.lowering.kernels.resize import resize

__all__ = ["Expr", "Moment", "Place", "Running", "Store", "emit_operator", "emit_run", "loop_name", "pack_weights"]

_EMITTERS: dict[type, Callable[..., None]] = {
    Convolution: convolution,
    Pool: pool,
    Add: add,
    Binary: binary,
    Pad: pad,
    Concat: concat,
    Slice: slice_,
    Patches: patches,
    Resize: resize,
    Gather: gather,
    Lookup: lookup,
    Quantize: quantize,
    Dequantize: dequantize,
}


def emit_operator(ib: Any, op: Operator, place: Place, moment: Moment) -> None:
    """Appends the operator's work at ``moment``."""
    _EMITTERS[type(op)](ib, op, place, moment)
