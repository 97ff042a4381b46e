"""Random small networks as Relay QNN modules, in the form that TVM's TFLite importer gives.

``random_network(seed)`` is deterministic. Networks are odd on purpose: sizes, strides, dilations and paddings that no
designer would choose, one-row, one-pixel and one-channel tensors, scales above one and channels that are nearly dead.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import random_elements
import random_moves
import random_resizes

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.tflite_model import Model, Port

Array = npt.NDArray[Any]

MAX_EXTENT = 14
MAX_CHANNELS = 12
MAX_OPERATORS = 12
_SMALLEST_RATIO = 2.0**-30  # of scales: its shift is 61, the farthest that stock TVM defines for every form


@dataclass(frozen=True)
class RandomNetwork:
    """A model with a line that tells its operators in order."""

    seed: int
    model: Model
    description: str


@dataclass(frozen=True)
class _Value:
    """A quantised tensor of shape (1, height, width, channels), or (1, channels) when ``flat``."""

    expr: Any
    shape: tuple[int, int, int]
    dtype: str
    scale: float
    zero: int
    flat: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Geometry:
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int, int, int]  # top, left, bottom, right
    out: tuple[int, int]

    def __str__(self) -> str:
        dilation = f" d{self.dilation[0]},{self.dilation[1]}" if self.dilation != (1, 1) else ""
        pad = ",".join(map(str, self.pad))
        return f"{self.kernel[0]}x{self.kernel[1]} s{self.stride[0]},{self.stride[1]}{dilation} p{pad}"


_Step = Callable[[_Value], _Value]


def random_network(seed: int, *, stock: bool = False, wide: bool = False) -> RandomNetwork:
    """The network of ``seed``: up to two inputs, about twelve operators, up to three outputs.

    With ``stock`` most hold operators that Pex leaves to TVM; else none does. ``wide`` tensors are of int16.
    """
    maker = _Maker(np.random.default_rng([seed, stock + 4 * wide]), stock, wide)
    return _network(seed, maker, maker.network())


def tailed_network(seed: int) -> RandomNetwork:
    """Convolutions and residual blocks of 32 to 64 channels that end in an average or a maximum of everything."""
    maker = _Maker(np.random.default_rng([seed, 2]), stock=False, wide=False)
    return _network(seed, maker, maker.classifier())


def _network(seed: int, maker: _Maker, body: Any) -> RandomNetwork:
    main = relay.Function(maker.parameters, body)
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(main))
    kinds = mod["main"].ret_type
    kinds = kinds.fields if isinstance(kinds, tvm.ir.TupleType) else [kinds]
    inputs = tuple(_port(str(p.name_hint), p.checked_type) for p in mod["main"].params)
    outputs = tuple(_port(f"output{index}", kind) for index, kind in enumerate(kinds))
    model = Model(f"random{seed}", mod, inputs, outputs)
    return RandomNetwork(seed, model, f"{maker.dtype} " + "; ".join(maker.words))


def _port(name: str, kind: Any) -> Port:
    return Port(name, tuple(int(n) for n in kind.shape), str(kind.dtype))


def _base(expr: Any) -> Any:
    """The expression whose bytes ``expr`` may show under another shape."""
    while isinstance(expr, relay.Call) and expr.op.name in ("reshape", "squeeze", "transpose"):
        expr = expr.args[0]
    return expr


def _float(value: Any) -> Any:
    return relay.const(np.asarray(value, "float32"))


def _int(value: int) -> Any:
    return relay.const(np.int32(value))


class _Maker:
    """Grows one network. Every method that takes a value gives the next, and adds its words to the description."""

    def __init__(self, rng: np.random.Generator, stock: bool, wide: bool) -> None:
        self.rng = rng
        self.stock = stock
        self.wide = wide
        self.dtype = "int16" if wide else "uint8" if self.chance(0.25) else "int8"
        self.low, self.high = int(np.iinfo(self.dtype).min), int(np.iinfo(self.dtype).max)
        self.lowest_zero = 0 if wide else self.low
        self.steps = 256 if wide else 1  # of int16 to one of 8 bits
        self.parameters: list[Any] = []
        self.words: list[str] = []
        self.left = self.between(1, MAX_OPERATORS - 2)
        self.inner: list[_Value] = []

    # Draws.

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, choices: Any, weights: Any = None) -> Any:
        p = None if weights is None else np.asarray(weights, float) / np.sum(weights)
        return choices[int(self.rng.choice(len(choices), p=p))]

    def zero(self) -> int:
        """A zero point: often the end of the range, as after a ReLU; int16 has none."""
        if self.wide:
            return 0
        return int(self.one_of([self.low, (self.low + self.high + 1) // 2, self.between(self.low, self.high)]))

    def scale(self) -> float:
        return float(np.float32(math.exp(self.rng.uniform(math.log(0.005), math.log(0.3))) / self.steps))

    def extent(self) -> int:
        return int(self.one_of([1, self.between(2, 5), self.between(5, 10), self.between(8, MAX_EXTENT)], [1, 2, 4, 3]))

    def channels(self) -> int:
        return int(
            self.one_of([1, self.between(2, 4), self.between(3, 8), self.between(6, MAX_CHANNELS)], [1, 3, 4, 2])
        )

    # Networks.

    def network(self) -> Any:
        value = self.source("x")
        while self.left > 0:
            value = self.step(value)
            if self.chance(0.08):
                self.inner.append(value)
        value = self.finish(value)
        # An output of its own each: TVM's ahead-of-time code does not write the second of two that share their bytes.
        outputs: dict[Any, Any] = {}
        for one in (value, *self.inner):
            base = _base(one.expr)
            if base not in self.parameters:
                outputs.setdefault(base, one)
        if not outputs:
            return self.pointwise(value).expr
        results = list(outputs.values())[:3]
        exprs = [random_moves.dequantised(self, one) if self.chance(0.1) else one.expr for one in results]
        if len(exprs) > 1:
            self.words.append(f"{len(exprs)} outputs")
        return exprs[0] if len(exprs) == 1 else relay.Tuple(exprs)

    def classifier(self) -> Any:
        """What ``tailed_network`` says: of many rows and few columns, so that what a moment holds counts."""
        value = self.source("x", (self.between(16, 24), self.between(2, 3), self.between(1, 4)))
        channels = self.one_of([32, 48, 64])
        value = self.convolution(value, channels, self.near(value.shape))
        ending = self.one_of(["residual", "residual", "plain", "separable"])
        main = self.depthwise(value, self.near(value.shape)) if ending == "separable" else value
        main = self.convolution(main, channels, self.near(value.shape) if ending != "separable" else None)
        if ending == "residual":
            main = self.convolution(main, channels, self.near(main.shape))
            main = self.add(main, self.pointwise(value, channels) if self.chance(0.7) else value)
        value = main
        window = _Geometry(value.shape[:2], value.shape[:2], (1, 1), (0, 0, 0, 0), (1, 1))
        return (self.max_pool if self.chance(0.3) else self.average_pool)(value, window).expr

    def near(self, shape: tuple[int, int, int]) -> _Geometry:
        """The pixels around each one."""
        return _Geometry((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), shape[:2])

    def source(self, name: str, shape: tuple[int, int, int] | None = None) -> _Value:
        height, width, channels = shape or (self.extent(), self.extent(), self.channels())
        self.words.append(f"{name} {height}x{width}x{channels}")
        border = self.one_of(["bytes", "floats", "indices"], [8, 1, 0.5])
        if border == "floats":
            parameter, expr = random_moves.quantised_source(self, name, (height, width, channels))
        elif border == "indices":
            parameter, expr = random_moves.table_source(self, name, (height, width, channels))
        elif self.chance(0.1):
            parameter = relay.var(name, shape=(1, height * width * channels), dtype=self.dtype)
            expr = relay.reshape(parameter, (-1, height, width, channels))
        else:
            expr = parameter = relay.var(name, shape=(1, height, width, channels), dtype=self.dtype)
        self.parameters.append(parameter)
        return _Value(expr, (height, width, channels), self.dtype, self.scale(), self.zero())

    def step(self, value: _Value) -> _Value:
        """One more operator, or a residual block."""
        if value.flat:
            last = self.sandwich if self.stock else self.dense
            join = functools.partial(random_moves.join_flat, self)
            function = functools.partial(random_elements.function, self)
            flat: list[_Step] = [self.dense, self.requantise, self.unflatten, last, join, function]
            return self.draw(flat)(value)
        steps: list[tuple[_Step, float]] = [
            (self.convolution, 6),
            (self.pointwise, 4),
            (self.depthwise, 5),
            (self.residual, 5 if self.left >= 2 else 0),
            (self.average_pool, 1.2),
            (self.max_pool, 1.2),
            (self.pad, 1.0),
            (self.requantise, 0.5),
            (self.global_pool, 0.5),
            (self.flatten_dense, 0.4 if value.count <= 800 else 0),
            (self.sandwich, 2.0 if self.stock else 0),
            (self.transpose, 2.0 if self.stock else 0),
            (self.twice, 0.25),
            (self.second_input, 0.5 if len(self.parameters) == 1 else 0),
            (self.lone_clip, 0.3),
            (functools.partial(random_elements.function, self), 1.0),
            (functools.partial(random_elements.gate, self), 1.0 if self.left >= 3 else 0),
            (functools.partial(random_elements.beside, self), 0.6),
            (functools.partial(random_moves.branches, self), 1.5 if self.left >= 2 else 0),
            (functools.partial(random_moves.parts, self), 1.2 if self.left >= 2 else 0),
            (functools.partial(random_moves.slice_, self), 0.7),
            (functools.partial(random_moves.join_rows, self), 0.4),
            (functools.partial(random_resizes.resize, self), 1.2),
            (functools.partial(random_resizes.repeat, self), 0.8),
            (functools.partial(random_resizes.transposed, self), 1.2),
            (functools.partial(random_resizes.grouped, self), 0.8),
            (functools.partial(random_resizes.mirror, self), 0.6),
            (functools.partial(random_resizes.reduction, self), 0.4),
            (functools.partial(random_resizes.blocks, self), 0.6),
            (functools.partial(random_resizes.other_channels, self), 0.4),
        ]
        return self.draw([s for s, _ in steps], [w for _, w in steps])(value)

    def draw(self, steps: list[_Step], weights: list[float] | None = None) -> _Step:
        step: _Step = self.one_of(steps, weights)
        return step

    def finish(self, value: _Value) -> _Value:
        """An end as real networks have it, or none."""
        ending = self.one_of(["none", "classifier", "softmax"], [6, 3, 3 if self.stock else 0])
        if self.stock and self.chance(0.5):  # in the middle, or the end
            value = self.convolution(self.sandwich(value)) if not value.flat else self.sandwich(value)
        if ending == "none":
            return value
        if not value.flat:
            value = self.global_pool(value)
            value = value if value.flat else self.flatten(value)
        value = self.dense(value)
        return self.sandwich(value) if ending == "softmax" else value

    # Convolutions.

    def geometry(self, shape: tuple[int, int, int], largest: int = 7, dilate: bool = True) -> _Geometry:
        """A window that gives at least one output and not too many."""
        while True:
            square = self.chance(0.6)
            kernel = [self.one_of([1, 2, 3, 3, 3, 4, 5, 6, 7][: largest + 2]) for _ in range(2)]
            stride = [self.one_of([1, 2, 3], [6, 3, 1]) for _ in range(2)]
            if self.chance(0.1):  # one window, if nothing is padded
                kernel = [min(size, largest) for size in shape[:2]]
            elif square:
                kernel, stride = [kernel[0]] * 2, [stride[0]] * 2
            dilation = [1, 1]
            if dilate and stride == [1, 1] and self.chance(0.25):
                dilation = [self.between(1, 3), self.between(1, 3)]
            style = self.one_of(["valid", "same", "any"], [3, 5, 2])
            sides = [self.padding(style, shape[a], kernel[a], stride[a], dilation[a]) for a in (0, 1)]
            reach = [(kernel[a] - 1) * dilation[a] for a in (0, 1)]
            spare = [shape[a] + sum(sides[a]) - reach[a] - 1 for a in (0, 1)]
            out = [spare[a] // stride[a] + 1 for a in (0, 1)]
            if min(spare) >= 0 and max(out) <= MAX_EXTENT:
                pad = (sides[0][0], sides[1][0], sides[0][1], sides[1][1])
                return _Geometry(_two(kernel), _two(stride), _two(dilation), pad, _two(out))

    def padding(self, style: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
        reach = (kernel - 1) * dilation
        if style == "valid":
            return 0, 0
        if style == "same":
            total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
            return total // 2, total - total // 2
        return self.between(0, reach), self.between(0, reach)

    def convolution(self, value: _Value, channels: int | None = None, window: _Geometry | None = None) -> _Value:
        window = window or self.geometry(value.shape)
        channels = channels or self.channels()
        shape = (*window.kernel, value.shape[2], channels)
        return self.convolve(value, window, shape, "HWIO", 1, f"conv {window} c{channels}")

    def pointwise(self, value: _Value, channels: int | None = None) -> _Value:
        window = _Geometry((1, 1), (1, 1), (1, 1), (0, 0, 0, 0), value.shape[:2])
        return self.convolution(value, channels, window)

    def depthwise(self, value: _Value, window: _Geometry | None = None) -> _Value:
        """With one channel the importer presents it as an ordinary convolution."""
        window = window or self.geometry(value.shape)
        channels = value.shape[2]
        multiplier = self.one_of([1, 2, 3], [6, 1, 1]) if channels * 3 <= MAX_CHANNELS else 1
        if channels == 1:
            shape, layout, groups = (*window.kernel, 1, multiplier), "HWIO", 1
        else:
            shape, layout, groups = (*window.kernel, channels, multiplier), "HWOI", channels
        return self.convolve(value, window, shape, layout, groups, f"depthwise {window} m{multiplier}")

    def convolve(
        self, value: _Value, window: _Geometry, shape: tuple[int, ...], layout: str, groups: int, words: str
    ) -> _Value:
        depthwise = layout == "HWOI"
        channels = shape[2] * shape[3] if depthwise else shape[3]
        weights, zero_weight = self.weights(shape)
        data, pad = value.expr, window.pad
        if any(pad) and self.chance(0.1):
            words += " padded apart"
            width = ((0, 0), (pad[0], pad[2]), (pad[1], pad[3]), (0, 0))
            data, pad = relay.nn.pad(data, width, float(value.zero)), (0, 0, 0, 0)
        taps = math.prod(window.kernel) * (1 if depthwise else shape[2])
        ratios = self.ratios(channels, taps)
        out_scale = self.scale()
        kernel_scale = np.asarray(ratios * out_scale / value.scale, "float32")
        sums = relay.qnn.op.conv2d(
            data,
            relay.const(weights),
            _int(value.zero),
            _int(zero_weight),
            _float(value.scale),
            relay.const(kernel_scale),
            kernel_size=window.kernel,
            strides=window.stride,
            dilation=window.dilation,
            padding=pad,
            groups=groups,
            channels=channels,
            data_layout="NHWC",
            kernel_layout=layout,
            out_dtype=self.sums,
        )
        result = self.requantised(sums, ratios, taps, channels, out_scale, axis=3)
        self.note(words + ("" if ratios.ndim else " per-tensor"))
        return replace(result, shape=(*window.out, channels))

    def weights(self, shape: tuple[int, ...]) -> tuple[Array, int]:
        """Of a convolution, and their zero point: so that sums fit 32 bits."""
        if self.wide:
            return self.rng.integers(-90, 90, shape, "int8", endpoint=True), 0
        weights = self.rng.integers(self.low, self.high, shape, self.dtype, endpoint=True)
        return weights, self.between(self.low, self.high) if self.dtype == "uint8" else 0

    @property
    def sums(self) -> str:
        """Their type, as the importer has it."""
        return "int64" if self.wide else "int32"

    def ratios(self, channels: int, taps: int) -> Array:
        """Scales of sums over the output's: such that outputs spread, saturate, or nearly die; a scalar or a vector."""
        usual = 40 / (74.0 * 74.0 * math.sqrt(taps))
        if self.dtype == "uint8" or self.chance(0.3):
            ratio = 1.5 if self.chance(0.05) and not self.wide else usual * self.rng.uniform(0.3, 2.5)
            return np.asarray(ratio, "float32")
        ratios = usual * self.rng.uniform(0.3, 2.5, channels)
        kinds = self.rng.random(channels)
        ratios = np.where(kinds < 0.04, _SMALLEST_RATIO * self.rng.uniform(1.1, 2.0**12, channels), ratios)
        if not self.wide:  # whose sums have no bits left for it
            ratios = np.where(kinds > 0.97, self.rng.uniform(1.0, 8.0, channels), ratios)
        return ratios.astype("float32")

    def requantised(self, sums: Any, ratios: Array, taps: int, channels: int, out_scale: float, axis: int) -> _Value:
        """Bias, requantise, and a clip where an activation was fused."""
        if not self.chance(0.1):
            spread = int(74.0 * 74.0 * math.sqrt(taps)) * self.steps
            bias = self.rng.integers(-spread, spread, channels, "int32", endpoint=True)
            dead = np.broadcast_to(ratios < 1e-8, bias.shape)
            bias = np.where(dead, self.rng.integers(-(1 << 28), 1 << 28, channels), bias).astype(self.sums)
            sums = relay.nn.bias_add(sums, relay.const(bias, self.sums), axis=axis)
        zero = self.zero()
        scale_in = relay.const(np.asarray(ratios * np.float32(out_scale), "float32"))
        expr = relay.qnn.op.requantize(
            sums, scale_in, _int(0), _float(out_scale), _int(zero), axis=axis, out_dtype=self.dtype
        )
        expr = self.activation(expr, zero)
        return _Value(expr, (1, 1, channels), self.dtype, out_scale, zero)

    def activation(self, expr: Any, zero: int) -> Any:
        kind = self.one_of(["none", "relu", "relu6"], [3, 5, 1])
        if kind == "none":
            return expr
        high = self.high if kind == "relu" else min(self.high, zero + self.between(20, 200) * self.steps)
        return relay.clip(expr, float(zero), float(high))

    def dense(self, value: _Value) -> _Value:
        units, taps = self.between(1, MAX_CHANNELS), value.count
        weights, zero_weight = self.weights((units, taps))
        out_scale = self.scale()
        ratios = np.asarray(40 / (74.0 * 74.0 * math.sqrt(taps)) * self.rng.uniform(0.3, 2.5), "float32")
        sums = relay.qnn.op.dense(
            value.expr,
            relay.const(weights),
            _int(value.zero),
            _int(zero_weight),
            _float(value.scale),
            _float(float(ratios) * out_scale / value.scale),
            units=units,
            out_dtype=self.sums,
        )
        result = self.requantised(sums, ratios, taps, units, out_scale, axis=1)
        self.note(f"dense {units}")
        return replace(result, flat=True)

    # Residual blocks.

    def residual(self, value: _Value) -> _Value:
        """A main path of one to three operators, nested blocks included, and a shortcut: identity or projection."""
        self.left -= 1
        self.words.append("(")
        main = value
        for _ in range(self.between(1, 3)):
            step = self.residual if self.left >= 2 and self.chance(0.15) else self.on_main_path
            main = step(main)
            if self.chance(0.05):
                self.inner.append(main)
        self.words.append("|")
        side = self.shortcut(value, main.shape)
        if side is None:  # no projection leads there: bring the main path back
            main, side = self.convolution(value, value.shape[2], self.same(value.shape)), value
        self.words.append(")")
        return self.add(main, side)

    def on_main_path(self, value: _Value) -> _Value:
        kind = self.one_of(["same", "strided", "depthwise", "pointwise", "pool"], [4, 2, 3, 3, 0.7])
        if kind == "pool":
            return self.max_pool(value, self.same(value.shape))
        if kind == "pointwise":
            return self.pointwise(value)
        if kind == "depthwise":
            return self.depthwise(value, self.same(value.shape))
        strides = (self.between(1, 3), self.between(1, 3)) if kind == "strided" else (1, 1)
        return self.convolution(value, None, self.same(value.shape, strides))

    def same(self, shape: tuple[int, int, int], stride: tuple[int, int] = (1, 1)) -> _Geometry:
        """A window with SAME padding; with its stride alone it decides the output's size."""
        kernel = (self.one_of([1, 3, 3, 5]), self.one_of([1, 3, 3, 5]))
        sides = [self.padding("same", shape[a], kernel[a], stride[a], 1) for a in (0, 1)]
        out = (-(-shape[0] // stride[0]), -(-shape[1] // stride[1]))
        return _Geometry(kernel, stride, (1, 1), (sides[0][0], sides[1][0], sides[0][1], sides[1][1]), out)

    def shortcut(self, value: _Value, shape: tuple[int, int, int]) -> _Value | None:
        """``value`` brought to ``shape`` by a 1x1 convolution with stride, or as it is."""
        if value.shape == shape and self.chance(0.7):
            return value
        strides = []
        for a in (0, 1):
            fitting = [s for s in range(1, MAX_EXTENT + 1) if -(-value.shape[a] // s) == shape[a]]
            if not fitting:
                return None
            strides.append(fitting[0])
        window = _Geometry((1, 1), _two(strides), (1, 1), (0, 0, 0, 0), shape[:2])
        return self.convolution(value, shape[2], window)

    def add(self, left: _Value, right: _Value) -> _Value:
        if self.chance(0.5):
            left, right = right, left
        scale, zero = self.scale(), self.zero()
        if self.chance(0.6):
            scale = max(left.scale, right.scale) * float(self.rng.uniform(0.8, 2.0))
        elif self.chance(0.3):
            scale = left.scale
        expr = relay.qnn.op.add(
            left.expr,
            right.expr,
            _float(left.scale),
            _int(left.zero),
            _float(right.scale),
            _int(right.zero),
            _float(scale),
            _int(zero),
        )
        self.words.append("add")
        return _Value(self.activation(expr, zero), left.shape, self.dtype, float(np.float32(scale)), zero)

    def second_input(self, value: _Value) -> _Value:
        """Adds another input, as it is or after a convolution of its own."""
        self.left -= 1
        other = self.source("y", value.shape)
        if self.chance(0.5):
            other = self.convolution(other, value.shape[2], self.same(value.shape))
        return self.add(value, other)

    def twice(self, value: _Value) -> _Value:
        """Two consumers whose results never meet: one of them is an output."""
        self.words.append("side:")
        self.inner.append(self.convolution(value))
        return value

    # Pools, pads, shapes.

    def pool_geometry(self, value: _Value) -> _Geometry:
        return self.geometry(value.shape, largest=5, dilate=False)

    def average_pool(self, value: _Value, window: _Geometry | None = None) -> _Value:
        window = window or self.touching(value)
        expr = relay.nn.avg_pool2d(
            relay.cast(value.expr, "int32"), window.kernel, window.stride, padding=window.pad, layout="NHWC"
        )
        expr = relay.cast(expr, self.dtype)
        if self.chance(0.2):
            expr = self.activation(expr, value.zero)
        self.note(f"average {window}")
        return replace(value, expr=expr, shape=(*window.out, value.shape[2]))

    def max_pool(self, value: _Value, window: _Geometry | None = None) -> _Value:
        window = window or self.touching(value)
        expr = relay.nn.max_pool2d(value.expr, window.kernel, window.stride, padding=window.pad, layout="NHWC")
        if self.chance(0.2):
            expr = self.activation(expr, value.zero)
        self.note(f"maximum {window}")
        return replace(value, expr=expr, shape=(*window.out, value.shape[2]))

    def touching(self, value: _Value) -> _Geometry:
        """A pool's window, of which every one holds a position of the tensor."""
        while True:
            window = self.geometry(value.shape, largest=5, dilate=False)
            last = [(window.out[a] - 1) * window.stride[a] - window.pad[a] for a in (0, 1)]
            behind = all(last[a] < value.shape[a] for a in (0, 1))
            if behind and all(window.pad[a] < window.kernel[a] for a in (0, 1)):
                return window

    def global_pool(self, value: _Value) -> _Value:
        height, width, channels = value.shape
        wide = relay.cast(value.expr, "int32")
        form = self.one_of(["mean", "mean keepdims", "average", "rows then columns"])
        out: tuple[int, ...] = (1, 1, 1, channels)
        if form == "average":
            expr = relay.nn.avg_pool2d(wide, (height, width), (height, width), layout="NHWC")
            expr = relay.cast(expr, self.dtype)
            result = replace(value, expr=expr, shape=(1, 1, channels))
        else:
            scale, zero = (value.scale, value.zero) if self.chance(0.4) else (self.scale(), self.zero())
            quantised = (_float(value.scale), _int(value.zero), _float(scale), _int(zero))
            if form == "rows then columns":
                rows = relay.mean(wide, axis=[1], keepdims=True)
                rows = relay.qnn.op.requantize(rows, *quantised, out_dtype=self.dtype)
                quantised = (quantised[2], quantised[3], *quantised[2:])
                wide = relay.cast(rows, "int32")
            axes = [2] if form == "rows then columns" else [1, 2]
            mean = relay.mean(wide, axis=axes, keepdims=form != "mean")
            out = (1, channels) if form == "mean" else out
            expr = relay.qnn.op.requantize(mean, *quantised, out_dtype=self.dtype)
            result = _Value(expr, (1, 1, channels), self.dtype, scale, zero, flat=form == "mean")
        self.note(f"global {form}")
        return result

    def flatten(self, value: _Value) -> _Value:
        if value.shape[:2] == (1, 1) and self.chance(0.3):
            expr = relay.squeeze(value.expr, axis=[1, 2])
        else:
            expr = relay.reshape(value.expr, (-1, value.count))
        return replace(value, expr=expr, shape=(1, 1, value.count), flat=True)

    def flatten_dense(self, value: _Value) -> _Value:
        return self.dense(self.flatten(value))

    def unflatten(self, value: _Value) -> _Value:
        """As some networks do between a dense layer and a convolution; the rows come from the channels."""
        self.left -= 1
        height = self.one_of([n for n in range(1, value.count + 1) if value.count % n == 0])
        shape = (height, 1, value.count // height)
        self.words.append(f"reshape {shape}")
        return replace(value, expr=relay.reshape(value.expr, (1, *shape)), shape=shape, flat=False)

    def pad(self, value: _Value) -> _Value:
        """A pad that a convolution, a pool or nothing follows, with the zero point or another value."""
        sides = [self.between(0, 2) for _ in range(4)]
        height, width = value.shape[0] + sides[0] + sides[1], value.shape[1] + sides[2] + sides[3]
        if max(height, width) > MAX_EXTENT:
            return self.pointwise(value)
        fill = self.one_of([value.zero, self.low, self.between(self.low, self.high)], [4, 1, 1])
        widths = ((0, 0), (sides[0], sides[1]), (sides[2], sides[3]), (0, 0))
        self.note(f"pad {sides} with {fill - value.zero:+d}")
        expr = relay.nn.pad(value.expr, widths, float(fill))
        return replace(value, expr=expr, shape=(height, width, value.shape[2]))

    def requantise(self, value: _Value) -> _Value:
        scale, zero = value.scale * float(self.rng.uniform(0.3, 3)), self.zero()
        if self.chance(0.2):
            scale = value.scale
        expr = relay.qnn.op.requantize(
            value.expr, _float(value.scale), _int(value.zero), _float(scale), _int(zero), out_dtype=self.dtype
        )
        self.note("requantise")
        return replace(value, expr=expr, scale=float(np.float32(scale)), zero=zero)

    def lone_clip(self, value: _Value) -> _Value:
        self.note("clip")
        low = self.between(self.low, 0 if self.low else 100)
        expr = relay.clip(value.expr, float(low), float(self.between(low, self.high)))
        return replace(value, expr=expr)

    # What stays with TVM.

    def sandwich(self, value: _Value) -> _Value:
        """dequantise, a softmax, quantise."""
        floats = relay.qnn.op.dequantize(value.expr, _float(value.scale), _int(value.zero))
        expr = relay.qnn.op.quantize(
            relay.nn.softmax(floats), _float(1 / 256), _int(self.lowest_zero), out_dtype=self.dtype
        )
        self.note("stock softmax")
        return replace(value, expr=expr, scale=1 / 256, zero=self.lowest_zero)

    def transpose(self, value: _Value) -> _Value:
        height, width, channels = value.shape
        self.note("stock transpose")
        return replace(value, expr=relay.transpose(value.expr, (0, 2, 1, 3)), shape=(width, height, channels))

    def note(self, words: str) -> None:
        self.words.append(words)
        self.left -= 1


def _two(values: Any) -> tuple[int, int]:
    return int(values[0]), int(values[1])
