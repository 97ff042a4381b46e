"""What is said of one way to run a model, and of the model: plain values, as they are in the report's JSON.

Bytes, instructions and multiply-accumulates are those of one inference; None: it was not measured, or does not apply.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
RIVALS = ("layers", "stock", "tflm")  # rows that Pex is compared with: all but layer by layer are others' programs

Json = dict[str, Any]


@dataclass(frozen=True)
class OnBoard:
    """The firmware on an emulated board. ``reason``: why there is none, or why it did not come to its end.

    ``code_bytes`` and ``weights_bytes`` (constants, tables of the C library among them) are together ``flash_bytes``.
    """

    arena_bytes: int | None = None
    stack_bytes: int | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    code_bytes: int | None = None
    weights_bytes: int | None = None
    instructions: int | None = None
    exact: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Difference:
    """Of the outputs from those of ``reference``, kernels of TensorFlow Lite: the share of elements that differ at all.

    A float differs if it is off by more than 1e-5 of the output's range. ``largest`` is in the output's own units.
    """

    reference: str
    share: float
    largest: float


@dataclass(frozen=True)
class Agreement:
    """The share of elements that are those of ``reference``, up to our last operator and of the model's outputs.

    As it is, rounding as stock TVM does, and with ``--rounding tflite``.
    """

    reference: str
    owned: float
    owned_rounded: float
    outputs: float
    outputs_rounded: float


@dataclass(frozen=True)
class Row:
    """One way to run a model. ``reason``: why it cannot be run so.

    ``key`` names the way, ``label`` is for people, ``configuration`` says what was chosen among several.
    ``arena_bytes`` holds input and output; ``persistent_bytes`` are RAM beside it that a runtime keeps for itself.
    ``exact``: on this machine and on every board all outputs were stock TVM's, and nothing was written outside the
    arena; ``tolerance`` is what float outputs were allowed. ``predicted_instructions`` are by the model that schedules
    are chosen by. ``buffers`` are what lies in the arena, when and where: name, bytes, offset, first and last step.
    """

    key: str
    label: str
    arena_bytes: int | None = None
    arena_without_io_bytes: int | None = None
    persistent_bytes: int | None = None
    executed_macs: int | None = None
    predicted_instructions: int | None = None
    planning_seconds: float | None = None
    build_seconds: float | None = None
    exact: bool | None = None
    tolerance: float | None = None
    tflite: Difference | None = None
    boards: Mapping[str, OnBoard] = field(default_factory=dict)
    configuration: str = ""
    buffers: Sequence[Mapping[str, Any]] = ()
    reason: str = ""


@dataclass(frozen=True)
class Subject:
    """A model: its rows, and what holds for all of them.

    ``layer_by_layer_bytes`` is the largest sum of what an operator of the file reads and writes. ``owned_operators``
    run in regions, ``stock_operators`` do not. ``front`` has arena bytes and instructions, from the fastest schedule
    down to the least memory. ``reason``: why there is nothing else.
    """

    model: str
    file_bytes: int
    sha256: str
    quantized_io: bool
    inputs: int
    input_bytes: int | None = None
    output_bytes: int | None = None
    macs: int | None = None
    layer_by_layer_bytes: int | None = None
    lower_bound_bytes: int | None = None
    owned_operators: int | None = None
    stock_operators: int | None = None
    front: Sequence[tuple[int, int]] = ()
    agreement: Agreement | None = None
    rows: Sequence[Row] = ()
    reason: str = ""

    def row(self, key: str) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    @property
    def worse(self) -> tuple[str, ...]:
        """The keys of rows of Pex that need more memory than stock TVM's best plan."""
        stock = self.row("stock")
        if stock is None or stock.arena_bytes is None:
            return ()
        limit = stock.arena_bytes
        return tuple(r.key for r in self.rows if r.key not in RIVALS and (r.arena_bytes or 0) > limit)

    @property
    def failed(self) -> bool:
        """True where an output differs, where something is worse than stock, or where there is nothing to run."""
        return bool(self.reason) or bool(self.worse) or any(row.exact is False for row in self.rows)


def to_json(value: Any) -> Json:
    """Of a ``Row`` or a ``Subject``."""
    plain: Json = json.loads(json.dumps(dataclasses.asdict(value)))  # without tuples
    return plain


def row_from_json(value: Json) -> Row:
    boards = {name: OnBoard(**board) for name, board in value["boards"].items()}
    tflite = Difference(**value["tflite"]) if value["tflite"] else None
    return Row(**{**value, "boards": boards, "tflite": tflite, "buffers": tuple(value["buffers"])})


def subject_from_json(value: Json) -> Subject:
    front = tuple((int(at), int(count)) for at, count in value["front"])
    agreement = Agreement(**value["agreement"]) if value["agreement"] else None
    return Subject(
        **{**value, "front": front, "agreement": agreement, "rows": tuple(row_from_json(row) for row in value["rows"])}
    )
