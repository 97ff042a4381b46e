"""Gives stock TVM's code a meaning where its requantise shifts too far, so that it can serve as a reference."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relay
from tvm.relay.dataflow_pattern import DFPatternCallback, is_op, rewrite, wildcard

from tvm_pex.frontend.fixed_point import fixed_point
from tvm_pex.frontend.values import Array

_FARTHEST_DEFINED = 1.5 * 2.0**-33
"""A ratio of scales that shifts by 63 bits: the farthest that 64-bit C defines, and 0 for every 32-bit value."""


def define_shifts(func: relay.Function) -> tuple[relay.Function, int]:
    """Rewrites the input scales of qnn.requantize whose shift is undefined in C to ones that give zero.

    Mathematically those channels are zero (plus their zero point) before and after. Returns the function, type-checked,
    and the number of channels rewritten.
    """
    callback = _DefineShifts()
    body = rewrite(callback, func.body)
    if not callback.channels:
        return func, 0
    defined = relay.Function(func.params, body, None, func.type_params, func.attrs)
    module = relay.transform.InferType()(tvm.IRModule.from_expr(defined))
    return module["main"], callback.channels


class _DefineShifts(DFPatternCallback):  # type: ignore[misc]
    """qnn.requantize(data, scales too small, ...) -> qnn.requantize(data, the smallest defined scales, ...)."""

    def __init__(self) -> None:
        super().__init__(rewrite_once=True)
        self.channels = 0
        self.pattern = is_op("qnn.requantize")(*(wildcard() for _ in range(5)))

    def callback(self, pre: relay.Expr, post: relay.Expr, node_map: object) -> relay.Expr:
        del pre, node_map
        scale_in, scale_out = post.args[1], post.args[3]
        if not (isinstance(scale_in, relay.Constant) and isinstance(scale_out, relay.Constant)):
            return post
        defined, channels = _defined_scales(scale_in.data.numpy(), float(scale_out.data.numpy()))
        if not channels:
            return post
        self.channels += channels
        args = [post.args[0], relay.const(defined), *post.args[2:]]
        return relay.Call(post.op, args, post.attrs, post.type_args, post.span)


def _defined_scales(scales: Array, scale_out: float) -> tuple[Array, int]:
    """``scales`` with those replaced whose shift is undefined, and how many these are."""
    out = np.atleast_1d(scales).copy()
    for index, scale in enumerate(out):
        try:
            undefined = fixed_point(float(scale), scale_out, per_channel=scales.ndim > 0).undefined
        except ValueError:  # not a scale that the reader takes
            return scales, 0
        if undefined:
            out[index] = scale_out * _FARTHEST_DEFINED
    return out.reshape(scales.shape), int((out != np.atleast_1d(scales)).sum())
