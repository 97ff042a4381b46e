"""Reads what gives a tensor more pixels, or fewer: resizes, repeated rows and columns, mirrored borders."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import relay

from tvm_pex.frontend.claim import NAMELESS, Claim, Readers, before_after
from tvm_pex.frontend.values import (
    Array,
    dtype_range,
    element_dtype,
    graph_shape,
    image_shape,
    is_float,
    op_name,
    require,
    static_shape,
    strip_views,
)
from tvm_pex.graph import Resize, Shape, Slice, Window
from tvm_pex.rounding import RESIZE_BITS, resize_positions

_EPSILON = 1e-5  # which TVM adds before it rounds down


@dataclass(frozen=True)
class _Line:
    """Along one axis: output r lies at ``(r * step + first) / parts`` of the input, rounded down."""

    step: int
    first: int
    parts: int


def read_resize(call: relay.Call, readers: Readers) -> Claim:
    """image.resize2d to the nearest pixel, of any type, or linear, of float32."""
    del readers
    attrs, data = call.attrs, call.args[0]
    require(str(attrs.layout) == "NHWC", f"its layout is {attrs.layout}, not NHWC")
    view, shape, dtype = image_shape(data), image_shape(call), element_dtype(call)
    require(dtype == element_dtype(data), "it changes the type")
    method, coordinates = str(attrs.method), str(attrs.coordinate_transformation_mode)
    require(coordinates in _POSITIONS, f"its coordinates are {coordinates}")
    if method == "nearest_neighbor":
        window = _picking(view, shape, coordinates, str(attrs.rounding_method))
        return Claim("resize", Slice(NAMELESS, (), (view,), NAMELESS, window, 0), (data,), shape, dtype)
    require(method == "linear", f"its method is {method}")
    require(is_float(call), f"it is linear in {dtype}")
    return _linear_claim(data, shape, dtype, _linear(view, shape, coordinates), coordinates)


def read_integer_resize(call: relay.Call, data: relay.Expr) -> Claim:
    """A linear image.resize2d of ``data`` dequantised, as TFLite does it in integers."""
    attrs, coordinates = call.attrs, str(call.attrs.coordinate_transformation_mode)
    require(str(attrs.layout) == "NHWC", f"its layout is {attrs.layout}, not NHWC")
    require(str(attrs.method) == "linear", f"its method is {attrs.method}")
    require(coordinates in _POSITIONS, f"its coordinates are {coordinates}")
    view, shape, dtype = image_shape(data), image_shape(call), element_dtype(data)
    require(dtype == "int8", f"TFLite resizes {dtype} in floats")
    return _linear_claim(data, shape, dtype, _linear_in_integers(view, shape, coordinates), coordinates)


def _linear_claim(data: relay.Expr, shape: Shape, dtype: str, window: Window, coordinates: str) -> Claim:
    limits = dtype_range(dtype)
    operator = Resize(NAMELESS, (), (image_shape(data),), NAMELESS, window, coordinates, 1.0, 0, 1.0, 0, *limits)
    return Claim("resize", operator, (data,), shape, dtype)


def _picking(view: Shape, shape: Shape, coordinates: str, rounding: str) -> Window:
    """The window that holds the nearest pixel alone."""
    rounding = rounding or ("round" if coordinates == "align_corners" else "floor")
    require(rounding in _ROUNDINGS, f"its rounding is {rounding}")
    half = rounding != "floor"
    lines = []
    for size, out in zip(view[:2], shape[:2], strict=True):
        at = _POSITIONS[coordinates](size, out)
        line = _reduced(2 * at.step, 2 * at.first + at.parts, 2 * at.parts) if half else _reduced_line(at)
        if not (coordinates == "asymmetric" and rounding == "floor" and out % size == 0):  # which TVM divides whole
            floats = _ROUNDINGS[rounding](_float_positions(coordinates, size, out))
            _require_exact(np.clip(floats, 0, size - 1), line, size, out)
        lines.append(line)
    return _window(lines, kernel=tuple(line.parts for line in lines))


def _linear(view: Shape, shape: Shape, coordinates: str) -> Window:
    """The window that holds the pixel before and the pixel behind."""
    lines = []
    for size, out in zip(view[:2], shape[:2], strict=True):
        line = _reduced_line(_POSITIONS[coordinates](size, out))
        _require_exact(np.floor(_float_positions(coordinates, size, out)), line, size, out)
        lines.append(line)
    return _window(lines, kernel=tuple(2 * line.parts for line in lines))


def _linear_in_integers(view: Shape, shape: Shape, coordinates: str) -> Window:
    """The same, and what TFLite reads besides: its steps are rounded, so that an output lies beside its fraction."""
    lines, sizes, behind = [], [], []
    for size, out in zip(view[:2], shape[:2], strict=True):
        line = _reduced_line(_POSITIONS[coordinates](size, out))
        index, (step, first) = np.arange(out), resize_positions(coordinates, size, out)
        exact = (index * line.step + line.first) // line.parts
        nearest = np.minimum(np.maximum(index * step + first, 0) >> RESIZE_BITS, size - 1)
        before = max(int((exact - nearest).max()), 0)
        after = int((np.minimum(nearest + 1, size - 1) - exact).max())
        lines.append(line)
        sizes.append((before + 1 + after) * line.parts)
        behind.append(before * line.parts)
    window = _window(lines, kernel=tuple(sizes))
    return dataclasses.replace(window, pad=(window.pad[0] + behind[0], window.pad[1] + behind[1]))


def _window(lines: list[_Line], kernel: tuple[int, ...]) -> Window:
    rows, columns = lines
    return Window(
        kernel=(kernel[0], kernel[1]),
        stride=(rows.step, columns.step),
        pad=(rows.parts - 1 - rows.first, columns.parts - 1 - columns.first),
        up=(rows.parts, columns.parts),
    )


def _reduced_line(line: _Line) -> _Line:
    return _reduced(line.step, line.first, line.parts)


def _reduced(step: int, first: int, parts: int) -> _Line:
    """In the least numbers that round to the same positions."""
    common = math.gcd(step, parts)
    return _Line(step // common, first // common, parts // common)


def _half_pixel(size: int, out: int) -> _Line:
    return _Line(2 * size, size - out, 2 * out)


def _asymmetric(size: int, out: int) -> _Line:
    return _Line(size, 0, out)


def _align_corners(size: int, out: int) -> _Line:
    require(out > 1, "it aligns the corners of a single row or column")
    return _Line(size - 1, 0, out - 1)


_POSITIONS: dict[str, Callable[[int, int], _Line]] = {
    "half_pixel": _half_pixel,
    "asymmetric": _asymmetric,
    "align_corners": _align_corners,
}

_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "floor": lambda at: np.floor(at + np.float32(_EPSILON)),
    "round": lambda at: np.floor(at + np.float32(0.5)),
    "round_prefer_ceil": lambda at: np.floor(at + np.float32(0.5)),
}


def _float_positions(coordinates: str, size: int, out: int) -> Array:
    """Where TVM's float32 puts each output."""
    index, half = np.arange(out, dtype=np.float32), np.float32(0.5)
    if coordinates == "align_corners":
        return np.float32((size - 1) / (out - 1)) * index
    scale = np.float32(size / out)
    return (index + half) * scale - half if coordinates == "half_pixel" else scale * index


def _require_exact(floats: Array, line: _Line, size: int, out: int) -> None:
    """Both must find the same positions: near a whole number TVM's floats may be just below."""
    exact = (np.arange(out) * line.step + line.first) // line.parts
    same = np.array_equal(np.clip(floats, -1, size - 1), np.clip(exact, -1, size - 1))
    require(same, f"floats round its positions otherwise than fractions of {size} by {out}")


def read_tile(call: relay.Call, readers: Readers) -> Claim:
    """A tile that repeats rows or columns where they are: its axis has one entry, between rows, columns or channels.

    One of rows that a tile of columns reads, and nothing else, is taken along.
    """
    data = call.args[0]
    shape, repeats = static_shape(data), [int(n) for n in call.attrs.reps]
    repeats = [1] * (len(shape) - len(repeats)) + repeats
    several = [axis for axis, n in enumerate(repeats) if n > 1]
    require(len(repeats) == len(shape) and len(several) == 1, "it repeats along several axes")
    (axis,) = several
    require(shape[axis] == 1, "it repeats more than one row or column together")
    source = strip_views(data)
    under, window = None, Window()
    if op_name(source) == "tile":
        under = read_tile(source, readers)
        view = under.shape
    else:
        view = graph_shape(source)
    behind = math.prod(shape[axis:])
    if behind == view[1] * view[2]:
        up = (repeats[axis], 1)
    else:
        require(behind == view[2], "it repeats parts of a pixel")
        up = (1, repeats[axis])
    shape_out = (view[0] * up[0], view[1] * up[1], view[2])
    if under is not None and readers[source] == 1 and readers[data] == 1:
        up = (up[0] * under.operator.window.up[0], up[1] * under.operator.window.up[1])
        data, view = under.inputs[0], under.operator.views[0]
    window = Window(kernel=up, pad=(up[0] - 1, up[1] - 1), up=up)
    return Claim("repeat", Slice(NAMELESS, (), (view,), NAMELESS, window, 0), (data,), shape_out, element_dtype(call))


def read_mirror_pad(call: relay.Call, readers: Readers) -> Claim:
    """nn.mirror_pad of rows and columns."""
    del readers
    data, reflects = call.args[0], str(call.attrs.mode) == "REFLECT"
    rows, columns, channels = before_after(call)
    require(channels == (0, 0), "it mirrors channels")
    view = graph_shape(data)
    for size, width in ((view[0], rows), (view[1], columns)):
        require(max(width) <= size - int(reflects), "its border is wider than what it mirrors")
    window = Window(pad=(rows[0], columns[0]), mirror=int(reflects))
    operator = Slice(NAMELESS, (), (view,), NAMELESS, window, 0)
    return Claim("mirror", operator, (data,), graph_shape(call), element_dtype(call))
