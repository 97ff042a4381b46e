"""What a user may choose about a plan. One value, the same for the pass, the compiler and every command. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_pex.pools import MemoryPool
from tvm_pex.rounding import Rounding
from tvm_pex.scheduling.search import ALL_AXES


@dataclass(frozen=True)
class PlanOptions:
    """How to schedule and place a model.

    ``axes`` are any of "rows", "pixels" (only with rows) and "channels"; ``overwrite_input`` lets the plan reuse dead
    input rows; ``quantized_io`` leaves the quantisation of float inputs and outputs to the caller; ``ram`` is a budget
    in bytes, within which the fastest schedule is taken, instead of the one of least memory; up to ``max_overhead``
    times the model's multiply-accumulates may be run. ``pools``, instead of ``ram``, are memories that buffers are
    spread over, and the schedule is the fastest with what their accesses cost. With ``stream_input`` the caller hands
    in the largest input row by row, and it is never whole in memory unless something needs all of it; no more than
    ``max_step`` instructions lie between two rows. With ``stream_output`` besides, the caller takes each row of the
    only output when it is made, and the input has no last row. Operators run by kernels in C, packed for ``core``, one
    of ``tvm_pex.scheduling.kernel_cost.CORES``; None: by portable TIR. ``rounding``: whose integers the operators give,
    those of stock TVM or those of TFLite's reference kernels.
    """

    axes: tuple[str, ...] = ALL_AXES
    overwrite_input: bool = False
    quantized_io: bool = False
    ram: int | None = None
    max_overhead: float = 1.0
    pools: tuple[MemoryPool, ...] = ()
    core: str | None = None
    stream_input: bool = False
    max_step: int | None = None
    stream_output: bool = False
    rounding: Rounding = "tvm"
