"""A .tflite file that ends earlier."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Any

import tflite

_OUTPUTS = 8  # of a SubGraph's table: the field that says where the vector of its outputs lies


def ending_before(data: bytes, positions: Collection[int]) -> bytes:
    """The file whose outputs are, in place of those at ``positions``, what the operators that compute them read.

    Raises ValueError if no operator does.
    """
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    kept: dict[int, None] = {}
    for position, tensor in enumerate(graph.OutputsAsNumpy().tolist()):
        kept.update(dict.fromkeys(_read_for(model, graph, tensor) if position in positions else [tensor]))
    field = graph._tab.Pos + graph._tab.Offset(_OUTPUTS)
    padded = data + bytes(-len(data) % 4)
    changed = bytearray(padded + struct.pack(f"<{1 + len(kept)}i", len(kept), *kept))
    struct.pack_into("<I", changed, field, len(padded) - field)  # a vector lies behind what refers to it
    return bytes(changed)


def _read_for(model: Any, graph: Any, tensor: int) -> list[int]:
    """The tensors, constants left out, that the operator reads which computes ``tensor``."""
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if tensor in operator.OutputsAsNumpy().tolist():
            inputs = [each for each in operator.InputsAsNumpy().tolist() if each >= 0]
            return [each for each in inputs if not model.Buffers(graph.Tensors(each).Buffer()).DataLength()]
    raise ValueError(f"no operator computes {graph.Tensors(tensor).Name().decode()}")
