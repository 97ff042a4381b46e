"""An architecture to the graph of the int8 program that TensorFlow's converter and our front end make of it. Pure.

The graph has every tensor and operator but no weights, which is what schedules and memory depend on: a candidate is
planned without training, quantising or converting it. The tests hold its arena equal to that of the converted file.

1. Batch normalisation disappears in the convolution or dense layer before it, ReLU in these and in additions.
2. Zero padding disappears in the windows of the convolutions that read it.
3. Flattening and reshaping are views. What has one dimension is a column of pixels; convolutions and pools of one
   dimension see it as a row, and then ``as_columns`` decides for all.
4. Any other activation is an operator of its own, a table of 256 values.
5. A softmax ends the network and is left to TVM, as the compiler leaves it; its memory is that of its few scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tvm_pex.codesign.architecture import Architecture, Layer, NotPrunable
from tvm_pex.frontend.columns import as_columns
from tvm_pex.graph import (
    Add,
    Binary,
    Concat,
    Convolution,
    Graph,
    Lookup,
    Operator,
    Pad,
    Pair,
    Pool,
    Rescale,
    Shape,
    Tensor,
    Window,
)
from tvm_pex.memory_planner import plan_memory
from tvm_pex.scheduling.layers import layer_bytes
from tvm_pex.scheduling.lifetimes import memory_problem
from tvm_pex.scheduling.search import find_schedule

_CONVOLUTIONS = "Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"
_ROWS = "Conv1D", "DepthwiseConv1D", "AveragePooling1D", "MaxPooling1D"
_WEIGHED = (*_CONVOLUTIONS, "Dense")
_BINARY = {"Subtract": "subtract", "Multiply": "multiply", "Maximum": "maximum", "Minimum": "minimum"}
_CLIPS = "linear", "relu", "relu6"
_TABLES = "sigmoid", "tanh", "silu", "hard_silu", "leaky_relu", "elu"
_CHANNEL_BYTES = 12  # bias, multiplier and shift
_LIMITS = (-128, 127)
_SAME = Rescale(1, 0, 0, 0)


@dataclass(frozen=True)
class Load:
    """A measure of a program: its ``peak``, and what it is the largest of (bytes in use, operator by operator)."""

    peak: int
    parts: tuple[int, ...]

    def above(self, target: int) -> int:
        """What lies above the target, in all parts together."""
        return sum(max(part - target, 0) for part in self.parts)


def arena_load(graph: Graph, overwrite_input: bool = False) -> Load:
    """The least arena, as the compiler finds it: schedule, then plan. Its parts are the segments' tops."""
    kept = frozenset() if overwrite_input else frozenset(graph.inputs)
    schedule = find_schedule(graph, kept=kept)
    problem = memory_problem(graph, schedule, kept=kept)
    plan = plan_memory(problem)
    times = sorted({buffer.first for buffer in problem.buffers})
    tops = [
        max((plan.offsets[b.name] + b.bytes for b in problem.buffers if b.first <= time <= b.last), default=0)
        for time in times
    ]
    return Load(plan.peak, tuple(tops))


def layers_load(graph: Graph) -> Load:
    """Memory where each operator runs on whole tensors."""
    loads = layer_bytes(graph).values()
    return Load(max(loads), tuple(loads))


def arena_bytes(graph: Graph, overwrite_input: bool = False) -> int:
    """The least arena; ``--ram`` of that many bytes can be met."""
    return arena_load(graph, overwrite_input).peak


def layer_by_layer(graph: Graph) -> int:
    """The arena where each operator runs on whole tensors."""
    return layers_load(graph).peak


def flash_bytes(graph: Graph) -> int:
    """Weights in 8 bits, and what each channel has in 32."""
    total = 0
    for op in graph.operators:
        if isinstance(op, Convolution):
            channels = graph.tensors[op.output].shape[2]
            (rows, columns), depth = op.window.kernel, op.views[0][2] // op.groups
            total += channels * (rows * columns * depth + _CHANNEL_BYTES)
    return total


@dataclass(frozen=True)
class _Value:
    """What a layer's output is in the graph: a tensor seen as ``shape``; zeros around it begin ``before`` it."""

    tensor: str
    shape: Shape
    before: Pair | None = None


@dataclass
class _Building:
    tensors: dict[str, Tensor] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    values: dict[str, _Value] = field(default_factory=dict)


def int8_graph(architecture: Architecture) -> Graph:
    """Raises NotPrunable for a layer that this module cannot say the program of."""
    building = _Building()
    readers = dict.fromkeys((layer.name for layer in architecture.layers), 0)
    for name in (name for layer in architecture.layers for name in layer.inputs):
        readers[name] += 1
    for layer in architecture.layers:
        building.values[layer.name] = _value(layer, architecture, readers, building)
    inputs = tuple(layer.name for layer in architecture.layers if layer.kind == "InputLayer")
    outputs = tuple(building.values[name].tensor for name in architecture.outputs)
    constants = {name: np.empty((0, 0), np.int8) for op in building.operators for name in op.constants}
    return as_columns(Graph(building.tensors, tuple(building.operators), inputs, outputs, constants))


def _value(layer: Layer, architecture: Architecture, readers: dict[str, int], building: _Building) -> _Value:
    sources = [building.values[name] for name in layer.inputs]
    if layer.kind == "InputLayer":
        building.tensors[layer.name] = Tensor(layer.name, _image(layer), "int8")
        return _Value(layer.name, _image(layer))
    if layer.kind in ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "Identity") or _ends_in_softmax(
        layer, architecture
    ):
        return sources[0]
    if layer.kind in ("Flatten", "Reshape"):
        return replace(sources[0], shape=_image(layer))
    if layer.kind == "ZeroPadding2D":
        (top, _), (left, _) = layer.config["padding"]
        return replace(sources[0], before=(top, left))
    if layer.kind == "BatchNormalization" or _clips(layer):
        kinds = _WEIGHED if layer.kind == "BatchNormalization" else (*_WEIGHED, "Add", "BatchNormalization")
        (source,) = layer.inputs
        if architecture.layer(source).kind in kinds and readers[source] == 1:
            return sources[0]
        raise NotPrunable(f"{layer.name} is no part of the layer before it, {source}")
    operator, image = _operator(layer, sources, building.tensors), _image(layer)
    activation = layer.config.get("activation", "linear")
    if layer.kind == "Activation" or activation in _CLIPS or _is_last_softmax(activation, layer, architecture):
        return _made(operator, _seen(layer, image), image, building)
    inner = _made(replace(operator, output=f"{layer.name}.linear"), _seen(layer, image), image, building)
    return _made(_table(layer, inner, activation), image, image, building)


def _made(operator: Operator, shape: Shape, image: Shape, building: _Building) -> _Value:
    """The operator's output is a tensor of ``shape``, which others read as ``image``."""
    building.operators.append(operator)
    building.tensors[operator.output] = Tensor(operator.output, shape, "int8")
    return _Value(operator.output, image)


def _image(layer: Layer) -> Shape:
    """The output as (height, width, channels); without a width as (height, 1, channels)."""
    if len(layer.shape) > 3:
        raise NotPrunable(f"{layer.name} has {len(layer.shape)} axes; at most three are supported")
    height, width, channels = (*layer.shape[:-1], 1, 1)[:2] + layer.shape[-1:]
    return height, width, channels


def _seen(layer: Layer, shape: Shape) -> Shape:
    """As the layer sees a tensor that it reads or makes."""
    return (shape[1], shape[0], shape[2]) if layer.kind in _ROWS else shape


def _clips(layer: Layer) -> bool:
    if layer.kind == "ReLU":
        plain = not layer.config["negative_slope"] and not layer.config["threshold"]
        return plain and layer.config["max_value"] in (None, 6.0)
    return layer.kind == "Activation" and layer.config["activation"] in _CLIPS


def _ends_in_softmax(layer: Layer, architecture: Architecture) -> bool:
    softmax = "softmax" if layer.kind == "Softmax" else layer.config.get("activation")
    return layer.kind in ("Softmax", "Activation") and _is_last_softmax(softmax, layer, architecture)


def _is_last_softmax(activation: Any, layer: Layer, architecture: Architecture) -> bool:
    return activation == "softmax" and layer.name in architecture.outputs


def _table(layer: Layer, source: _Value, activation: Any) -> Lookup:
    if activation not in _TABLES:
        raise NotPrunable(f"{layer.name} has the activation {activation}")
    name = layer.name
    return Lookup(f"{name}.{activation}", (source.tensor,), (source.shape,), name, f"{name}.table")


def _operator(layer: Layer, sources: list[_Value], tensors: Mapping[str, Tensor]) -> Operator:
    name, config = layer.name, layer.config
    read, views = tuple(s.tensor for s in sources), tuple(_seen(layer, s.shape) for s in sources)
    if any(source.before for source in sources) and layer.kind not in _CONVOLUTIONS:
        raise NotPrunable(f"{name} reads a tensor padded by a layer of its own")
    match layer.kind:
        case "Conv1D" | "Conv2D" | "DepthwiseConv1D" | "DepthwiseConv2D":
            return _convolution(layer, replace(sources[0], shape=views[0]))
        case "ZeroPadding1D":
            return Pad(name, read, views, name, Window(pad=(config["padding"][0], 0)), 0)
        case "Activation":
            return _table(layer, sources[0], config["activation"])
        case "LeakyReLU" | "ELU":
            return _table(layer, sources[0], {"LeakyReLU": "leaky_relu", "ELU": "elu"}[layer.kind])
        case "Dense" if len(layer.shape) == 1:  # the whole tensor, whatever it was before it was flattened
            own = tensors[read[0]].shape
            return _weighed(layer, sources[0], own, Window(kernel=own[:2]), 1)
        case "GlobalAveragePooling1D" | "GlobalAveragePooling2D" | "GlobalMaxPooling1D" | "GlobalMaxPooling2D":
            whole = Window(kernel=views[0][:2], stride=views[0][:2])
            return Pool(name, read, views, name, whole, layer.kind.startswith("GlobalMax"), None, *_LIMITS)
        case "AveragePooling1D" | "AveragePooling2D" | "MaxPooling1D" | "MaxPooling2D":
            window = _window(layer, views[0], config["pool_size"], (1, 1))
            return Pool(name, read, views, name, window, layer.kind.startswith("Max"), None, *_LIMITS)
        case "Add":
            return Add(name, read, views, name, tuple(_SAME for _ in sources), *_LIMITS)
        case "Subtract" | "Multiply" | "Maximum" | "Minimum" if len(read) == 2:
            return Binary(name, read, views, name, _BINARY[layer.kind], (_SAME, _SAME), None, *_LIMITS)
        case "Concatenate" if config["axis"] in (-1, len(layer.shape)):
            return Concat(name, read, views, name, tuple(None for _ in sources), *_LIMITS)
    raise NotPrunable(f"{name}: there is no graph of a {layer.kind}; use other layers")


def _convolution(layer: Layer, source: _Value) -> Convolution:
    view, depthwise = source.shape, layer.kind.startswith("Depthwise")
    window = _window(layer, view, layer.config["kernel_size"], layer.config["dilation_rate"])
    if source.before:
        if layer.config["padding"] != "valid":
            raise NotPrunable(f"{layer.name} pads a tensor padded by a layer of its own")
        window = replace(window, pad=source.before)
    return _weighed(layer, source, view, window, view[2] if depthwise else layer.config["groups"])


def _weighed(layer: Layer, source: _Value, view: Shape, window: Window, groups: int) -> Convolution:
    name = layer.name
    constants = f"{name}.weights", f"{name}.scales"
    return Convolution(name, (source.tensor,), (view,), name, window, groups, *constants, 0, 0, 0, *_LIMITS)


def _window(layer: Layer, view: Shape, kernel: Any, dilation: Any) -> Window:
    window = Window(_pair(kernel), _pair(layer.config["strides"]), _pair(dilation))
    if layer.config["padding"] == "valid":
        return window
    if layer.config["padding"] != "same":
        raise NotPrunable(f"{layer.name} has the padding {layer.config['padding']}")
    return replace(window, pad=(_before(layer, window, view, 0), _before(layer, window, view, 1)))


def _pair(sizes: Any) -> Pair:
    """Along rows and columns; what has one dimension is a row of pixels."""
    rows, columns = (1, *sizes)[-2:]
    return rows, columns


def _before(layer: Layer, window: Window, view: Shape, axis: int) -> int:
    """TensorFlow's "same": what windows lack in all, the smaller half of it before the tensor."""
    lacking = (_seen(layer, _image(layer))[axis] - 1) * window.stride[axis] + window.reach(axis) + 1 - view[axis]
    return max(lacking, 0) // 2
