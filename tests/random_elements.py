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
    kind = maker.one_of([*_FUNCTIONS, "prelu", "negative", "silu"])
    scale, zero = maker.scale(), maker.zero()
    floats = relay.qnn.op.dequantize(value.expr, _float(value.scale), _int(value.zero))
    maker.note(kind)
    if kind == "negative":
        return replace(value, expr=relay.clip(relay.negative(value.expr), maker.low + 1.0, maker.high - 1.0))
    if kind == "prelu":
        slopes = maker.rng.uniform(-1, 1, value.shape[2])
        floats = relay.nn.prelu(floats, _float(slopes), axis=1 if value.flat else 3)
    elif kind == "silu":
        gate = relay.qnn.op.quantize(relay.sigmoid(floats), _float(1 / 256), _int(maker.low), out_dtype=maker.dtype)
        encodings = (_float(value.scale), _int(value.zero), _float(1 / 256), _int(maker.low), _float(scale), _int(zero))
        expr = maker.activation(relay.qnn.op.mul(value.expr, gate, *encodings), zero)
        return replace(value, expr=expr, scale=scale, zero=zero)
    else:
        floats = _FUNCTIONS[kind](floats)
    expr = relay.qnn.op.quantize(floats, _float(scale), _int(zero), out_dtype=maker.dtype)
    return replace(value, expr=maker.activation(expr, zero), scale=float(np.float32(scale)), zero=zero)
