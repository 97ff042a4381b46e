"""Which operators have a kernel in C, and which one. Pure.

An operator without one runs as portable TIR. The kernels work in 8 bits:

1. Convolutions whose weights have no zero point. ``PAIRS`` needs sums of 24 bits, ``LANES`` does not. Inputs whose
   channels are no multiple of 4, and windows of many positions, are copied to a patch first.
2. Depthwise convolutions of multiplier 1 on a multiple of 4 channels. ``DEPTHWISE_LANES`` adds two products in 16 bits.
3. Sums of two tensors: as TVM rounds, where one 32-bit product gives the very integers of both rescales.
4. Averages of whole tensors, as their pixels come.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tvm_pex.graph import Add, Convolution, Graph, Operator, Pool, Rescale
from tvm_pex.rounding import rescaled
from tvm_pex.scheduling.kernels import (
    ADD,
    DEPTHWISE,
    DEPTHWISE_LANES,
    LANES,
    LANES_PATCH,
    PAIRS,
    PAIRS_PATCH,
    SUM,
    is_depthwise,
)

Array = npt.NDArray[np.int64]

SUM_SHIFT = 22  # pex_add.c
TAPS, ROWS, RUNS = 49, 8, 25  # pex_kernels.h
_LEAST_SHIFT = {"tvm": 33, "tflite": 32}  # pex_rounding_*.h: below TVM's, sums are shifted to the left
_CONSTANT_BITS = 14  # below the point of a bias that is the result: any with a sum of 24 bits and a shift above 33
_INT8 = (-128, 127)


@dataclass(frozen=True)
class Layer:
    """A convolution as its kernel computes it: ``clip((sum << left_shift) * multiplier >> 33 >> shift ...)``, or as
    ``sources/pex_rounding_tflite.h`` does.

    ``weights`` are (inputs of one result, channels), the others of each channel. ``bias`` has the input's zero point
    folded in; ``left_shifts`` are those of even and of odd channels.
    """

    weights: Array
    bias: Array
    multiplier: Array
    shift: Array
    left_shifts: tuple[int, int]


def with_kernels(graph: Graph, core: str) -> Graph:
    """``graph`` with the kernel of each operator that has one, in the packing that suits ``core``."""
    kernels, constants = {}, dict(graph.constants)
    for op in graph.operators:
        kernel = _kernel(graph, op, core)
        if kernel is None:
            continue
        kernels[op.name] = kernel
        if isinstance(op, Add):
            constants[parameters_name(op)] = np.zeros(0, np.int32)
    return dataclasses.replace(graph, kernels=kernels, constants=constants, core=core)


def parameters_name(op: Operator) -> str:
    """Name of the constant that holds a kernel's parameters, for operators that have no other constant."""
    return op.scales if isinstance(op, Convolution) else f"{op.name}.parameters"


def _kernel(graph: Graph, op: Operator, core: str) -> str | None:
    if any(graph.tensors[name].dtype != "int8" for name in (*op.inputs, op.output)):
        return None
    if isinstance(op, Convolution):
        return _convolution(graph, op, core)
    if isinstance(op, Add):
        return ADD if len(op.inputs) == 2 and len(set(op.views)) == 1 and sum_parameters(op) else None
    return SUM if isinstance(op, Pool) and not op.maximum else None


def _convolution(graph: Graph, op: Convolution, core: str) -> str | None:
    channels, positions = op.views[0][2], math.prod(op.window.kernel)
    few = positions <= TAPS and op.window.kernel[0] <= ROWS
    if op.zero_weight or op.window.up != (1, 1):
        return None
    if op.groups > 1:
        alone = is_depthwise(op, graph) and channels % 4 == 0 and few
        layer = layer_of(graph, op, pairs=False) if alone else None
        if layer is None:
            return None
        return DEPTHWISE_LANES if core == "cortex-m55" and layer.weights.min() > _INT8[0] else DEPTHWISE
    direct = few and positions <= RUNS and channels % 4 == 0
    if core != "cortex-m55" and layer_of(graph, op, pairs=True):
        return PAIRS if direct else PAIRS_PATCH
    if layer_of(graph, op, pairs=False):
        return LANES if direct else LANES_PATCH
    return None


def layer_of(graph: Graph, op: Convolution, *, pairs: bool) -> Layer | None:
    """What the kernel computes, to the same bits; None if it cannot.

    With ``pairs``, of each two channels the second one's sum is kept 256 times as large, beside the first one's.
    """
    weights = graph.constants[op.weights].astype(np.int64).reshape(-1, graph.tensors[op.output].shape[2])
    bias, multiplier, shift = graph.constants[op.scales].astype(np.int64).T
    bias = bias - op.zero_in * weights.sum(axis=0)
    lowest = bias + np.minimum(weights * _INT8[0], weights * _INT8[1]).sum(axis=0)
    highest = bias + np.maximum(weights * _INT8[0], weights * _INT8[1]).sum(axis=0)
    least, most = (
        np.clip(rescaled(sums, multiplier, shift, graph.rounding) + op.zero_out, op.low, op.high).astype(np.int64)
        for sums in (lowest, highest)
    )
    # A channel that is nearly dead always gives one value: then it needs no weights, and no wide sums.
    constant = least == most
    weights = np.where(constant, 0, weights)
    bias = np.where(constant, (least - op.zero_out) << _CONSTANT_BITS, bias)
    multiplier = np.where(constant, 1 << 30, multiplier)
    shift = np.where(constant, _CONSTANT_BITS + 30, shift)
    largest = np.where(constant, np.abs(bias), np.maximum(np.abs(bias), np.maximum(np.abs(lowest), np.abs(highest))))
    gained = np.zeros_like(shift)  # bits that the sum is larger already
    if pairs:
        gained[1::2] = 8 if graph.rounding == "tvm" else 0
        if (largest[1::2] >= 1 << 23).any() or not _pairs_fit(weights):
            return None
    shift = shift + gained
    least_shift = _LEAST_SHIFT[graph.rounding]
    missing = [max(0, least_shift - int(part.min(initial=least_shift))) for part in (shift[::2], shift[1::2])]
    if graph.rounding == "tflite" and (any(missing) or (largest >= 1 << 30).any()):
        return None
    left = (missing[0], missing[1]) if pairs else (max(missing), max(missing))
    for parity, bits in enumerate(left):
        room = largest[parity::2] << np.minimum(gained[parity::2] + bits, 32)
        if (room >= 1 << 31).any() or (shift[parity::2] + bits > least_shift + 31).any():
            return None
        shift[parity::2] += bits - least_shift
    return Layer(weights, bias, multiplier, shift, left)


def _pairs_fit(weights: Array) -> bool:
    """True if 256 * odd + even is a 16-bit number for every two channels."""
    even, odd = weights[:, ::2], weights[:, 1::2]
    both = 256 * odd + even[:, : odd.shape[1]]
    return bool(((both >= -(1 << 15)) & (both < 1 << 15)).all())


def sum_parameters(op: Add) -> tuple[int, ...] | None:
    """What pex_add has to know but for the limits: see pex_kernels.h, and pex_add_tflite.c for an Add with a total.

    None if there are no such numbers.
    """
    if op.total:
        zeros = (*(r.zero_in for r in op.rescales), op.total.zero_out)
        parts = [(zero, r.multiplier, r.shift - 31) for zero, r in zip(zeros, (*op.rescales, op.total), strict=True)]
        return tuple(number for part in parts for number in part) if all(part[2] >= 0 for part in parts) else None
    first, second = sum_scale(op.rescales[0], op.rescales[0].zero_out), sum_scale(op.rescales[1], 0)
    return (*first, *second) if first and second else None


def sum_scale(rescale: Rescale, extra: int) -> tuple[int, int] | None:
    """(scale, half) with ``rescale(v - zero_in) + extra == (v * scale + half) >> SUM_SHIFT`` for all v of 8 bits.

    None if there are none of 32 bits.
    """
    values = np.arange(_INT8[0], _INT8[1] + 1, dtype=np.int64)
    wanted = rescaled(values - rescale.zero_in, rescale.multiplier, rescale.shift, "tvm") + extra
    exact = rescale.multiplier * 2.0 ** (SUM_SHIFT - rescale.shift)
    for scale in (round(exact), math.floor(exact), math.ceil(exact)):
        least = int((wanted * (1 << SUM_SHIFT) - values * scale).max())
        most = int(((wanted + 1) * (1 << SUM_SHIFT) - values * scale).min()) - 1
        half = (least + most) // 2
        if least <= most and np.abs(values * scale + half).max() < 1 << 31 and abs(half) < 1 << 31:
            return scale, half
    return None
