"""Steps of random networks with geometry of their own: more pixels or fewer, borders that are mirrored, reductions.

``maker`` is the one of random_networks, which has the draws and the other steps; values are its quantised tensors.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tvm_pex._tvm import relay

MOST = 14  # rows or columns


def _float(value: Any) -> Any:
    return relay.const(np.asarray(value, "float32"))


def _int(value: int) -> Any:
    return relay.const(np.int32(value))


def resize(maker: Any, value: Any) -> Any:
    """To the nearest pixel or linear, by 2 or by any ratio, in each of TFLite's three kinds of coordinates."""
    size = [maker.one_of([2 * n, maker.between(1, MOST)]) for n in value.shape[:2]]
    size = [min(n, MOST) for n in size]
    mode = maker.one_of(["half_pixel", "asymmetric", "align_corners"])
    if mode == "align_corners":
        size = [max(n, 2) for n in size]
    size = [n if _exact(mode, value.shape[a], n) else value.shape[a] for a, n in enumerate(size)]
    if mode == "align_corners" and min(size) < 2:
        return maker.pointwise(value)
    linear = maker.chance(0.5)
    method, rounding = ("linear", "") if linear else ("nearest_neighbor", "round_prefer_ceil" * (mode == "half_pixel"))
    expr = relay.qnn.op.dequantize(value.expr, _float(0.25), _int(value.zero)) if linear else value.expr
    expr = relay.image.resize2d(expr, size, None, "NHWC", method, mode, rounding)
    if linear:
        expr = relay.qnn.op.quantize(expr, _float(0.25), _int(value.zero), out_dtype=maker.dtype)
    maker.note(f"resize {method} {mode} {size}")
    return replace(value, expr=expr, shape=(*size, value.shape[2]))


def _exact(mode: str, size: int, out: int) -> bool:
    """Ratios that float32 holds: others are left to TVM, or not, as its floats round."""
    step, parts = (size - 1, out - 1) if mode == "align_corners" else (size, out)
    parts //= math.gcd(step, parts)
    return parts & (parts - 1) == 0


def repeat(maker: Any, value: Any) -> Any:
    """Rows and columns several times, as Keras' UpSampling2D is converted."""
    (height, width, channels), expr = value.shape, value.expr
    rows, columns = (maker.one_of([n for n in (1, 2, 2, 3) if n == 1 or n * size <= MOST]) for size in (height, width))
    if rows > 1:
        expr = relay.tile(relay.reshape(expr, (1, height, 1, width, channels)), (1, 1, rows, 1, 1))
    if columns > 1:
        expr = relay.tile(relay.reshape(expr, (1, height * rows, width, 1, channels)), (1, 1, 1, columns, 1))
    if rows == columns == 1:
        return maker.pointwise(value)
    shape = (height * rows, width * columns, channels)
    maker.note(f"repeat {rows},{columns}")
    return replace(value, expr=relay.reshape(expr, (1, *shape)), shape=shape)


def transposed(maker: Any, value: Any) -> Any:
    """A transposed convolution with padding as the importer gives it for SAME and for VALID."""
    deep, channels = value.shape[2], maker.between(1, 6)
    up = [maker.one_of([n for n in (1, 2, 2, 3) if n == 1 or n * size <= MOST]) for size in value.shape[:2]]
    kernel = [maker.between(n, n + 2) for n in up]
    spare = [max(k - n, 0) for k, n in zip(kernel, up)]
    same = maker.chance(0.7) or any((size - 1) * n + k > MOST for size, n, k in zip(value.shape, up, kernel))
    pad = (spare[0] // 2, spare[1] // 2, spare[0] - spare[0] // 2, spare[1] - spare[1] // 2) if same else (0, 0, 0, 0)
    out = [(value.shape[a] - 1) * up[a] + kernel[a] - pad[a] - pad[a + 2] for a in (0, 1)]
    weights, zero_weight = maker.weights((deep, channels, *kernel))
    taps = deep * math.prod(kernel)
    ratios, out_scale = maker.ratios(channels, taps), maker.scale()
    sums = relay.qnn.op.conv2d_transpose(
        value.expr,
        relay.const(weights),
        _int(value.zero),
        _int(zero_weight),
        _float(value.scale),
        relay.const(np.asarray(ratios * out_scale / value.scale, "float32")),
        strides=up,
        padding=pad,
        channels=channels,
        kernel_size=kernel,
        data_layout="NHWC",
        kernel_layout="IOHW",
        out_dtype=maker.sums,
    )
    result = maker.requantised(sums, ratios, taps, channels, out_scale, axis=3)
    maker.note(f"transposed {kernel} up {up} p{pad} c{channels}")
    return replace(result, shape=(*out, channels))


def grouped(maker: Any, value: Any) -> Any:
    """A convolution of two or more groups of channels."""
    deep, window = value.shape[2], maker.same(value.shape)
    groups = maker.one_of([n for n in range(1, deep) if deep % n == 0] or [1])
    channels = groups * maker.between(1, 3)
    shape = (*window.kernel, deep // groups, channels)
    return maker.convolve(value, window, shape, "HWIO", groups, f"grouped {groups} {window} c{channels}")


def mirror(maker: Any, value: Any) -> Any:
    mode = maker.one_of(["REFLECT", "SYMMETRIC"])
    most = [max(0, min(2, n - (mode == "REFLECT"), (MOST - n) // 2)) for n in value.shape[:2]]
    rows, columns = ((maker.between(0, n), maker.between(0, n)) for n in most)
    expr = relay.nn.mirror_pad(value.expr, ((0, 0), rows, columns, (0, 0)), mode)
    height, width, channels = value.shape
    maker.note(f"mirror {mode} {rows} {columns}")
    return replace(value, expr=expr, shape=(height + sum(rows), width + sum(columns), channels))


def reduction(maker: Any, value: Any) -> Any:
    """A maximum or a sum over rows, over columns, or over both."""
    name, axes = maker.one_of(["max", "sum"]), maker.one_of([[1], [2], [1, 2]])
    reduce = relay.max if name == "max" else relay.sum
    taps = math.prod(value.shape[axis - 1] for axis in axes)
    scale, zero = (value.scale * taps / 2, maker.zero()) if name == "sum" else (value.scale, value.zero)
    wide = reduce(relay.cast(value.expr, "int32"), axis=axes, keepdims=True)
    expr = relay.qnn.op.requantize(
        wide, _float(value.scale), _int(value.zero), _float(scale), _int(zero), out_dtype=maker.dtype
    )
    height, width, channels = value.shape
    shape = 1 if 1 in axes else height, 1 if 2 in axes else width, channels
    maker.note(f"{name} {axes}")
    return replace(value, expr=expr, shape=shape, scale=float(np.float32(scale)), zero=zero)


def blocks(maker: Any, value: Any) -> Any:
    """depth_to_space or space_to_depth."""
    height, width, channels = value.shape
    if channels % 4 == 0 and max(height, width) * 2 <= MOST:
        maker.note("depth to space")
        return replace(
            value, expr=relay.nn.depth_to_space(value.expr, 2, "NHWC"), shape=(height * 2, width * 2, channels // 4)
        )
    if height % 2 == width % 2 == 0 and channels < 4:
        maker.note("space to depth")
        return replace(
            value, expr=relay.nn.space_to_depth(value.expr, 2, "NHWC"), shape=(height // 2, width // 2, channels * 4)
        )
    return maker.pointwise(value)


def other_channels(maker: Any, value: Any) -> Any:
    """Empty channels before and behind, or some of those there are, backwards or forwards."""
    height, width, channels = value.shape
    if maker.chance(0.5):
        sides = maker.between(0, 2), maker.between(0, 2)
        maker.note(f"channels padded {sides}")
        expr = relay.nn.pad(value.expr, ((0, 0), (0, 0), (0, 0), sides), float(value.zero))
        return replace(value, expr=expr, shape=(height, width, channels + sum(sides)))
    step = maker.one_of([-2, -1, 2])
    begin, end = (channels - 1, -channels - 1) if step < 0 else (0, channels)
    maker.note(f"channels by {step}")
    expr = relay.strided_slice(value.expr, [begin], [end], [step], axes=[3])
    return replace(value, expr=expr, shape=(height, width, -(-channels // abs(step))))
