"""Steps of random networks that work element by element.

``maker`` is the one of random_networks, which has the draws and the other steps; values are its quantised tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tvm_pex._tvm import relay


def _float(value: Any) -> Any:
    return relay.const(np.asarray(value, "float32"))


def _int(value: int) -> Any:
    return relay.const(np.int32(value))


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "logistic": relay.sigmoid,
    "tanh": relay.tanh,
    "hard swish": lambda x: x * relay.clip(x + relay.const(3.0), 0.0, 6.0) / relay.const(6.0),
    "leaky relu": lambda x: relay.nn.leaky_relu(x, 0.2),
    "exp": relay.exp,
}


def function(maker: Any, value: Any) -> Any:
    """A function of one value, as TVM's TFLite importer writes it: of floats, by channel, of bytes, or of itself."""
    if maker.wide and not maker.stock:  # the interpreter's floats end in other bits, and int16 has no tables
        return maker.requantise(value)
    kind = maker.one_of([*_FUNCTIONS, "prelu", "silu"])
    scale, zero = maker.scale(), maker.zero()
    floats = relay.qnn.op.dequantize(value.expr, _float(value.scale), _int(value.zero))
    maker.note(kind)
    if kind == "prelu":
        slopes = maker.rng.uniform(-1, 1, value.shape[2])
        floats = relay.nn.prelu(floats, _float(slopes), axis=1 if value.flat else 3)
    elif kind == "silu":
        gate = relay.qnn.op.quantize(
            relay.sigmoid(floats), _float(1 / 256), _int(maker.lowest_zero), out_dtype=maker.dtype
        )
        gated = _float(value.scale), _int(value.zero), _float(1 / 256), _int(maker.lowest_zero)
        encodings = (*gated, _float(scale), _int(zero))
        expr = maker.activation(relay.qnn.op.mul(value.expr, gate, *encodings), zero)
        return replace(value, expr=expr, scale=scale, zero=zero)
    else:
        floats = _FUNCTIONS[kind](floats)
    expr = relay.qnn.op.quantize(floats, _float(scale), _int(zero), out_dtype=maker.dtype)
    return replace(value, expr=maker.activation(expr, zero), scale=float(np.float32(scale)), zero=zero)


def gate(maker: Any, value: Any) -> Any:
    """Squeeze and excitation: all pixels by a function of their average, or of the average of rows or of columns."""
    axes = maker.one_of([(1, 2), (1,), (2,)], [4, 1, 1])
    wide = relay.mean(relay.cast(value.expr, "int32"), axis=axes, keepdims=True)
    scale, zero = maker.scale(), maker.zero()
    encodings = _float(value.scale), _int(value.zero), _float(scale), _int(zero)
    mean = relay.qnn.op.requantize(wide, *encodings, out_dtype=maker.dtype)
    height, width, channels = value.shape
    shape = (1 if 1 in axes else height, 1 if 2 in axes else width, channels)
    maker.note(f"gate over {axes} [")
    made = replace(value, expr=mean, shape=shape, scale=scale, zero=zero)
    if maker.chance(0.7):
        made = maker.pointwise(made)
    made = maker.pointwise(made, maker.one_of([channels, 1], [3, 1]))
    made = function(maker, made) if maker.chance(0.5) else made
    maker.words.append("]")
    return arithmetic(maker, *((value, made) if maker.chance(0.7) else (made, value)))


def beside(maker: Any, value: Any) -> Any:
    """With another tensor of its shape."""
    other = maker.convolution(value, value.shape[2], maker.same(value.shape))
    return arithmetic(maker, value, other)


def arithmetic(maker: Any, left: Any, right: Any) -> Any:
    """Of two tensors, one of which may have less rows, columns or channels: one of them."""
    name = maker.one_of(["add", "subtract", "mul", "mul", "maximum", "minimum"])
    shape = tuple(np.maximum(left.shape, right.shape).tolist())
    maker.note(name)
    if name in ("maximum", "minimum"):  # of one encoding in truth
        return replace(left, expr=getattr(relay, name)(left.expr, right.expr), shape=shape)
    scale, zero = maker.scale(), maker.zero()
    parts = [(_float(value.scale), _int(value.zero)) for value in (left, right)]
    encodings = (*parts[0], *parts[1], _float(scale), _int(zero))
    expr = getattr(relay.qnn.op, name)(left.expr, right.expr, *encodings)
    expr = maker.activation(expr, zero)
    return replace(left, expr=expr, shape=shape, scale=float(np.float32(scale)), zero=zero)
