"""A Keras functional model as plain data: layers in topological order, who reads whom, and shapes. No weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


class NotPrunable(ValueError):
    """The model cannot be worked on; the message is one line that says why."""


@dataclass(frozen=True)
class Layer:
    """``kind`` is Keras' class name, ``config`` what the layer was made of, ``shape`` its output's, batch left out."""

    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Architecture:
    """``outputs`` names layers; each layer has one output tensor, which goes by the layer's name."""

    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]

    def layer(self, name: str) -> Layer:
        return next(layer for layer in self.layers if layer.name == name)


def architecture_of(model: Any) -> Architecture:
    """Raises NotPrunable for models that are not functional, call a layer twice, or hold a model as a layer."""
    config = model.get_config()
    if "input_layers" not in config:
        raise NotPrunable(f"{model.name} is no functional model of Keras")
    shapes = {operation.name: operation.output.shape for operation in model.operations if _has_one_output(operation)}
    layers = tuple(_layer(record, shapes) for record in config["layers"])
    return Architecture(layers, tuple(name for name, _, _ in _histories(config["output_layers"])))


def _has_one_output(operation: Any) -> bool:
    return not isinstance(operation.output, list | tuple | dict)


def _layer(record: Mapping[str, Any], shapes: Mapping[str, Any]) -> Layer:
    name, kind, calls = record["name"], record["class_name"], record["inbound_nodes"]
    if "layers" in record["config"]:
        raise NotPrunable(f"{name} is a model within the model")
    if len(calls) > 1:
        raise NotPrunable(f"{name} is called {len(calls)} times")
    if name not in shapes:
        raise NotPrunable(f"{name} has several outputs")
    if record["config"].get("data_format", "channels_last") != "channels_last":
        raise NotPrunable(f"{name} has its channels first")
    inputs = tuple(_read_by(calls[0])) if calls else ()
    shape = shapes[name][1:]
    if None in shape:
        raise NotPrunable(f"{name} has no fixed shape: {shape}")
    return Layer(name, kind, record["config"], inputs, tuple(shape))


def _read_by(value: Any) -> Iterator[str]:
    """Names of the tensors in the arguments of a call, in order."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
            return
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _read_by(item)


def _histories(value: Any) -> list[tuple[str, int, int]]:
    """Keras writes one output as itself, several as a list."""
    return [tuple(value)] if isinstance(value[0], str) else [tuple(item) for item in value]
