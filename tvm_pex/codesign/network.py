"""An architecture to the graph of the int8 program that TensorFlow's converter and our front end make of it. Pure.

The graph has every tensor and operator but no weights, which is what schedules and memory depend on: a candidate is
planned without training, quantising or converting it. The tests hold its arena equal to that of the converted file.

1. Batch normalisation disappears in the convolution or dense layer before it, ReLU in these and in additions.
2. Zero padding disappears in the windows of the convolutions that read it.
3. Flattening and reshaping are views.
4. A softmax ends the network and is left to TVM, as the compiler leaves it; its memory is that of its few scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tvm_pex.codesign.architecture import Architecture, Layer, NotPrunable
from tvm_pex.graph import (
    Add,
    Concat,
    Convolution,
    Graph,
    Operator,
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

_WEIGHED = "Conv2D", "DepthwiseConv2D", "Dense"
_CLIPS = "linear", "relu", "relu6"
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
    constants = {name: np.empty(0, np.int8) for op in building.operators for name in op.constants}
    return Graph(building.tensors, tuple(building.operators), inputs, outputs, constants)


def _value(layer: Layer, architecture: Architecture, readers: dict[str, int], building: _Building) -> _Value:
    sources = [building.values[name] for name in layer.inputs]
    if layer.kind == "InputLayer":
        building.tensors[layer.name] = Tensor(layer.name, _image(layer), "int8")
        return _Value(layer.name, _image(layer))
    if layer.kind in ("Dropout", "SpatialDropout2D", "Identity") or _ends_in_softmax(layer, architecture):
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
    operator = _operator(layer, sources, architecture, building.tensors)
    building.operators.append(operator)
    building.tensors[layer.name] = Tensor(layer.name, _image(layer), "int8")
    return _Value(layer.name, _image(layer))


def _image(layer: Layer) -> Shape:
    """The output as (height, width, channels)."""
    if len(layer.shape) > 3:
        raise NotPrunable(f"{layer.name} has {len(layer.shape)} axes; at most three are supported")
    height, width, channels = (1,) * (3 - len(layer.shape)) + layer.shape
    return height, width, channels


def _clips(layer: Layer) -> bool:
    if layer.kind == "ReLU":
        plain = not layer.config["negative_slope"] and not layer.config["threshold"]
        return plain and layer.config["max_value"] in (None, 6.0)
    return layer.kind == "Activation" and layer.config["activation"] in _CLIPS


def _ends_in_softmax(layer: Layer, architecture: Architecture) -> bool:
    softmax = layer.kind == "Softmax" or (layer.kind == "Activation" and layer.config["activation"] == "softmax")
    return softmax and layer.name in architecture.outputs


def _operator(
    layer: Layer, sources: list[_Value], architecture: Architecture, tensors: Mapping[str, Tensor]
) -> Operator:
    name, config = layer.name, layer.config
    activation = config.get("activation", "linear")
    if activation not in _CLIPS and not (activation == "softmax" and name in architecture.outputs):
        raise NotPrunable(f"{name} has the activation {activation}")
    read, views = tuple(s.tensor for s in sources), tuple(s.shape for s in sources)
    if any(source.before for source in sources) and layer.kind not in ("Conv2D", "DepthwiseConv2D"):
        raise NotPrunable(f"{name} reads a tensor padded by a layer of its own")
    match layer.kind:
        case "Conv2D" | "DepthwiseConv2D":
            return _convolution(layer, sources[0])
        case "Dense" if len(layer.shape) == 1:  # the whole tensor, whatever it was before it was flattened
            own = tensors[read[0]].shape
            return _weighed(layer, sources[0], own, Window(kernel=own[:2]), 1)
        case "GlobalAveragePooling2D" | "GlobalMaxPooling2D":
            whole = Window(kernel=views[0][:2], stride=views[0][:2])
            return Pool(name, read, views, name, whole, layer.kind == "GlobalMaxPooling2D", None, *_LIMITS)
        case "AveragePooling2D" | "MaxPooling2D":
            window = _window(layer, views[0], config["pool_size"], (1, 1))
            return Pool(name, read, views, name, window, layer.kind == "MaxPooling2D", None, *_LIMITS)
        case "Add":
            return Add(name, read, views, name, tuple(_SAME for _ in sources), *_LIMITS)
        case "Concatenate" if config["axis"] in (-1, len(layer.shape)):
            return Concat(name, read, views, name, tuple(None for _ in sources), *_LIMITS)
    raise NotPrunable(f"{name}: there is no graph of a {layer.kind}; use other layers")


def _convolution(layer: Layer, source: _Value) -> Convolution:
    view, depthwise = source.shape, layer.kind == "DepthwiseConv2D"
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
    stride = layer.config["strides"]
    rows, columns = kernel[0], kernel[1]
    window = Window((rows, columns), (stride[0], stride[1]), (dilation[0], dilation[1]))
    if layer.config["padding"] == "valid":
        return window
    return replace(window, pad=(_before(layer, window, view, 0), _before(layer, window, view, 1)))


def _before(layer: Layer, window: Window, view: Shape, axis: int) -> int:
    """TensorFlow's "same": what windows lack in all, the smaller half of it before the tensor."""
    lacking = (layer.shape[axis] - 1) * window.stride[axis] + window.reach(axis) + 1 - view[axis]
    return max(lacking, 0) // 2
