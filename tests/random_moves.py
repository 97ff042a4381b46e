"""Steps of random networks that move values: branches that are joined, parts, slices, entries of a table; and borders.

``maker`` is the one of random_networks, which has the draws and the other steps; values are its quantised tensors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tvm_pex._tvm import relay


def _float(value: float) -> Any:
    return relay.const(np.float32(value))


def _int(value: int) -> Any:
    return relay.const(np.int32(value))


def branches(maker: Any, value: Any) -> Any:
    """Two to four branches over the same pixels, side by side; perhaps the tensor itself is one of them."""
    maker.left -= 1
    maker.words.append("[")
    made = []
    for number in range(maker.between(2, 4)):
        kind = maker.one_of(["as it is", "point", "same", "two", "pool", "slice"], [0.7, 3, 3, 1, 0.7, 0.7])
        maker.words.append("|" if number else "")
        if kind == "as it is":
            made.append(value)
        elif kind == "pool":
            made.append(maker.max_pool(value, maker.same(value.shape)))
        elif kind == "slice":
            made.append(channels_of(maker, value))
        else:
            inner = maker.pointwise(value) if kind in ("point", "two") else value
            made.append(inner if kind == "point" else maker.convolution(inner, None, maker.same(value.shape)))
        if maker.chance(0.05):
            maker.inner.append(made[-1])
    maker.words.append("]")
    return concat(maker, made)


def concat(maker: Any, values: list[Any], axis: int = -1) -> Any:
    """Joined along ``axis``: in TVM's form for quantised tensors, or as they are."""
    first = values[0]
    shape = list(first.shape)
    shape[axis % 3] = sum(value.shape[axis % 3] for value in values)
    fields = relay.Tuple([value.expr for value in values])
    along = axis if axis < 0 or first.flat else axis + 1
    if maker.chance(0.25):
        maker.note(f"concatenate {axis}")
        return replace(first, expr=relay.concatenate(fields, along), shape=tuple(shape))
    like = maker.one_of(values)
    scale, zero = (like.scale, like.zero) if maker.chance(0.7) else (maker.scale(), maker.zero())
    alike = maker.chance(0.4)  # as after a training that knew: nothing to rescale
    scales = [scale if alike else value.scale for value in values]
    zeros = [zero if alike else value.zero for value in values]
    expr = relay.qnn.op.concatenate(
        fields, [_float(s) for s in scales], [_int(z) for z in zeros], _float(scale), _int(zero), axis=along
    )
    if maker.chance(0.2):
        expr = maker.activation(expr, zero)
    maker.note(f"qnn.concatenate {axis}{' alike' if alike else ''}")
    return replace(first, expr=expr, shape=tuple(shape), scale=float(np.float32(scale)), zero=zero)


def join_rows(maker: Any, value: Any) -> Any:
    """Below or beside a tensor another like it."""
    axis = maker.between(0, 1)
    if value.shape[axis] > 7:
        return maker.pointwise(value)
    other = maker.convolution(value, value.shape[2], maker.same(value.shape)) if maker.chance(0.7) else value
    return concat(maker, [value, other], axis)


def join_flat(maker: Any, value: Any) -> Any:
    return concat(maker, [value, maker.dense(value)])


def parts(maker: Any, value: Any) -> Any:
    """A split of the channels, an operator on one part, and both together again."""
    channels = value.shape[2]
    if channels < 2:
        return maker.pointwise(value)
    maker.left -= 1
    halves = channels % 2 == 0 and maker.chance(0.6)
    cut = channels // 2 if halves else maker.between(1, channels - 1)
    split = relay.split(value.expr, 2 if halves else [cut], axis=3)
    maker.words.append(f"split {cut} of {channels}")
    first = replace(value, expr=split[0], shape=(*value.shape[:2], cut))
    second = replace(value, expr=split[1], shape=(*value.shape[:2], channels - cut))
    if maker.chance(0.8):
        second = maker.convolution(second, channels - cut, maker.same(second.shape))
    if maker.chance(0.3):
        first = maker.depthwise(first, maker.same(first.shape))
    if maker.chance(0.1):
        maker.inner.append(first)
    if halves and maker.chance(0.5):
        return maker.add(first, second)
    return concat(maker, [first, second] if maker.chance(0.7) else [second, first])


def channels_of(maker: Any, value: Any) -> Any:
    """Some of the channels."""
    height, width, channels = value.shape
    begin = maker.between(0, channels - 1)
    end = maker.between(begin + 1, channels)
    expr = relay.strided_slice(value.expr, [begin], [end], axes=[3])
    maker.note(f"channels {begin}:{end}")
    return replace(value, expr=expr, shape=(height, width, end - begin))


def slice_(maker: Any, value: Any) -> Any:
    """Rows, columns and channels from anywhere to anywhere, the pixels with steps."""
    begin = [maker.one_of([0, maker.between(0, size - 1)]) for size in value.shape]
    end = [maker.one_of([size, maker.between(b + 1, size)]) for b, size in zip(begin, value.shape)]
    steps = [maker.one_of([1, 1, 2, 3]), maker.one_of([1, 1, 2, 3]), 1]
    shape = tuple(-(-(e - b) // s) for b, e, s in zip(begin, end, steps))
    maker.note(f"slice {begin}:{end}:{steps}")
    if maker.chance(0.3):  # counted from behind
        begin = [b - size for b, size in zip(begin, value.shape)]
    expr = relay.strided_slice(value.expr, [0, *begin], [1, *end], [1, *steps])
    return replace(value, expr=expr, shape=shape)


def border_scale(maker: Any) -> float:
    """A scale that is, and whose inverse is, in TVM's C what it is in float32: that prints seven digits."""
    while True:
        scale = np.float32(2.0 ** -maker.between(2, 6) if maker.chance(0.5) else round(maker.scale(), 3))
        if scale > 0 and all(np.float32(f"{v:.6e}") == v for v in (scale, np.float32(1) / scale)):
            return float(scale)


def quantised_source(maker: Any, name: str, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """(parameter of floats, its quantised value)."""
    parameter = relay.var(name, shape=(1, *shape), dtype="float32")
    scale, zero = border_scale(maker), maker.zero()
    maker.words.append(f"quantise {scale}")
    return parameter, relay.qnn.op.quantize(parameter, _float(scale), _int(zero), out_dtype=maker.dtype)


def table_source(maker: Any, name: str, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """(parameter of indices, entries of a table)."""
    height, width, channels = shape
    entries = maker.between(1, 20)
    table = maker.rng.integers(maker.low, maker.high, (entries, channels), maker.dtype, endpoint=True)
    flat, floats = maker.chance(0.5), maker.chance(0.5)
    index = (1, height * width) if flat else (1, height, width)
    parameter = relay.var(name, shape=index, dtype="float32" if floats else "int32")
    mode = maker.one_of(["fast", "clip", "wrap"] if not floats else ["fast", "clip"])
    number = relay.cast(relay.cast(parameter, "int32"), "int32") if floats else parameter
    expr = relay.take(relay.const(table), number, axis=0, mode=mode)
    maker.words.append(f"entries of {entries} {mode}{' by floats' if floats else ''}")
    return parameter, relay.reshape(expr, (1, *shape)) if flat else expr


def dequantised(maker: Any, value: Any) -> Any:
    """``value`` as floats, for the caller."""
    scale = border_scale(maker)
    maker.words.append(f"dequantise {scale}")
    return relay.qnn.op.dequantize(value.expr, _float(scale), _int(maker.zero()))
