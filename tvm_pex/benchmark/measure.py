"""Measures a model in every way that ``WAYS`` lists. A way that fails is a row that says why; bugs stay tracebacks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvm_pex.benchmark.case import NAMES, Case
from tvm_pex.benchmark.rows import SCHEMA, Agreement, Json, OnBoard, Row, Subject, row_from_json, to_json
from tvm_pex.benchmark.store import Store, own_revision
from tvm_pex.compiler import CompiledModel, compile_model, memory_front
from tvm_pex.frontend.streaming import NotStreamable
from tvm_pex.frontend.tflite_model import ModelError
from tvm_pex.lowering.aot import POOL, AotError, CPort
from tvm_pex.microtvm.bare_metal.build import FirmwareError, Network, in_one_arena
from tvm_pex.microtvm.boards import Board
from tvm_pex.microtvm.elf import Sections
from tvm_pex.microtvm.emulation import EmulationError
from tvm_pex.native_output import only_python_on_stderr
from tvm_pex.options import PlanOptions
from tvm_pex.port_files import Array
from tvm_pex.scheduling.search import OverBudget
from tvm_pex.verification.firmware import Task, run_firmware
from tvm_pex.verification.host_run import HostError
from tvm_pex.verification.stock_baseline import ALL_TARGETS, TARGETS, Attempt, StockPlan, stock_plans
from tvm_pex.verification.tflite_agreement import tflite_agreements
from tvm_pex.verification.tflite_reference import NoReference
from tvm_pex.verification.verify import TOLERANCE, differs_as_float, run_compiled, same

BUDGETS = {"ram_quarter": 4, "ram_half": 2}  # how far from the least memory to that of the fastest: 1 part of so many
WAYS = {
    "layers": "layer by layer",
    "stock": "stock TVM",
    "tflm": "TFLite Micro",
    "channels": "Pex, channels only",
    "rows": "Pex, rows only",
    "pex": "Pex",
    "overwritten": "Pex, input overwritten",
    "streamed": "Pex, input by rows",
    "ram_quarter": "Pex, --ram, a quarter up",
    "ram_half": "Pex, --ram, half-way up",
}
ON_ALL_BOARDS = ("stock", "pex")  # the others run on the first: a plan for each core takes time
_PLANS = {
    "layers": PlanOptions(axes=()),
    "channels": PlanOptions(axes=("channels",)),
    "rows": PlanOptions(axes=("rows",)),
    "pex": PlanOptions(),
    "overwritten": PlanOptions(overwrite_input=True),
    "streamed": PlanOptions(stream_input=True),
}
_FAILURES = (AotError, NotStreamable, OverBudget, HostError, FirmwareError, EmulationError)

Progress = Callable[[str, int], None]  # what begins, and the rows that are done


@dataclass(frozen=True)
class Settings:
    """``ways`` are keys of ``WAYS``, ``boards`` what to emulate; the arena is that of the plan for ``core``.

    The ways of ``ON_ALL_BOARDS`` run on each board, the others on the first.

    ``inputs`` random ones from ``seed`` are run on this machine, the first of them on the boards.
    """

    ways: tuple[str, ...] = tuple(WAYS)
    boards: tuple[Board, ...] = ()
    core: str = "cortex-m4"
    inputs: int = 8
    seed: int = 0
    optimize: str = "-O2"
    timeout: float = 900.0
    front: bool = True

    def boards_of(self, way: str) -> tuple[Board, ...]:
        return self.boards if way in ON_ALL_BOARDS else self.boards[:1]

    def depends(self, way: str) -> list[str]:
        """What a row depends on besides its model and its way."""
        boards = " ".join(board.name for board in self.boards_of(way))
        return [str(SCHEMA), boards, self.core, str(self.inputs), str(self.seed), self.optimize]


def measure(path: Path, settings: Settings, store: Store, progress: Progress, *, quantized_io: bool = False) -> Subject:
    """All ways of ``settings``. ``progress`` is called with what begins. Raises OSError where nothing can be kept."""
    try:
        case = Case(path, store, quantized_io=quantized_io, inputs=settings.inputs, seed=settings.seed)
    except (ModelError, OSError) as error:
        content = path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(content).hexdigest()
        return Subject(path.stem, len(content), digest, quantized_io, settings.inputs, reason=str(error))
    subject = Subject(case.name, len(case.file), case.sha256, quantized_io, settings.inputs)
    meter = _Meter(case, settings, store, progress)
    rows = tuple(meter.row(way) for way in settings.ways)
    return replace(subject, **meter.facts(), rows=rows)


class _Meter:
    """The rows of one model."""

    def __init__(self, case: Case, settings: Settings, store: Store, progress: Progress) -> None:
        self.case, self.settings, self.store, self.progress = case, settings, store, progress
        self.now, self.done = "", 0

    def row(self, way: str) -> Row:
        self.now, self.done = f"{self.case.name}: {WAYS[way]}", self.settings.ways.index(way)
        self.progress(self.now, self.done)
        if way == "tflm":  # kept by the case
            return self._micro()
        make = self._stock if way == "stock" else lambda: self._ours(way)
        depends = self.case.stock_depends if way == "stock" else [self.case.sha256, own_revision()]
        key = [*depends, str(self.case.quantized_io), *self.settings.depends(way), *self._kernels()]
        return row_from_json(self.store.value(f"{self.case.name}-{way}", key, lambda: to_json(make())))

    def _kernels(self) -> list[str]:
        """What differences from TensorFlow Lite depend on."""
        reference = self.case.reference
        return [reference if isinstance(reference, str) else reference.runtime]

    def facts(self) -> dict[str, Any]:
        """What holds for all rows, and the front."""
        self.progress(f"{self.case.name}: memory and instructions", len(self.settings.ways))
        depends = [self.case.sha256, str(self.case.quantized_io), self.settings.core, own_revision(), str(SCHEMA)]
        facts = dict(self.store.value(f"{self.case.name}-facts", depends, self._facts))
        facts["front"] = tuple((at, n) for at, n in self._front()) if self.settings.front else ()
        told = self.store.value(f"{self.case.name}-agreement", [*depends, str(self.settings.inputs)], self._agreement)
        return {**facts, "agreement": Agreement(**told) if told else None}

    def _agreement(self) -> Json | None:
        """With the reference kernels, by rounding.

        None where there are none, where no operator is ours, and of floats, which need not have the same bytes.
        """
        if any(port.dtype.startswith("float") for port in self.case.model.outputs):
            return None
        options = PlanOptions(quantized_io=self.case.quantized_io, core=self.settings.core)
        try:
            told = tflite_agreements(self.case.read, options, self.settings.inputs, self.settings.seed)
        except (NoReference, *_FAILURES):
            return None
        shares = [told.owned["tvm"], told.owned["tflite"], told.outputs["tvm"], told.outputs["tflite"]]
        return to_json(Agreement(NAMES[told.runtime], *(share.equal_share for share in shares)))

    def _facts(self) -> dict[str, Any]:
        report = self._compiled(PlanOptions(axes=()), self.settings.core).report
        keys = ("input_bytes", "output_bytes", "macs", "layer_by_layer_bytes", "lower_bound_bytes")
        counts = {"owned_operators": len(report["operators"]), "stock_operators": len(report["refused"])}
        return {key: report[key] for key in keys} | counts

    def _front(self) -> list[tuple[int, int]]:
        depends = [self.case.sha256, str(self.case.quantized_io), self.settings.core, own_revision()]

        def make() -> list[list[int]]:
            points = memory_front(self.case.model, PlanOptions(core=self.settings.core))
            return [[point.arena_bytes, point.instructions] for point in points]

        return [(at, n) for at, n in self.store.value(f"{self.case.name}-front", depends, make)]

    def _micro(self) -> Row:
        micro, io = self.case.micro, _io_bytes(self.case)
        if isinstance(micro, str):
            return Row("tflm", WAYS["tflm"], reason=micro)
        head = micro.head_bytes
        return Row(
            "tflm",
            WAYS["tflm"],
            arena_bytes=head,
            arena_without_io_bytes=None if head is None else head - io,
            persistent_bytes=micro.persistent_bytes,
        )

    def _stock(self) -> Row:
        """The least memory of all configurations; run is the best of those whose C needs nothing else."""
        try:
            with only_python_on_stderr():  # LLVM complains that Cortex-M4 is not this machine
                plans = stock_plans(self.case.model.mod, targets=ALL_TARGETS)
        except AotError as error:
            return Row("stock", WAYS["stock"], reason=str(error))
        runs = [plan for plan in plans if plan.target in TARGETS]
        least = min((a for a in plans[0].tried if a.workspace_bytes is not None), key=_workspace)
        plan = min(runs or plans, key=lambda plan: plan.workspace_bytes)
        io = _io_bytes(self.case)
        boards = {
            board.name: self._on_board(_stock_network(plan), board)
            for board in self.settings.boards_of("stock")
            if runs
        }
        outputs = list(self.case.expected.values())
        also = "" if _workspace(least) == plan.workspace_bytes else f"; run: {_named(plan)}"
        failed = sorted({f"{a.target} does not build: {a.reason}" for a in plans[0].tried if a.workspace_bytes is None})
        return Row(
            "stock",
            WAYS["stock"],
            arena_bytes=_workspace(least) + io,
            arena_without_io_bytes=_workspace(least),
            build_seconds=round(plan.seconds, 3),
            exact=all(board.exact is not False for board in boards.values()),
            tflite=self.case.differences(outputs),
            boards=boards,
            configuration="; ".join([_named(least) + also, *failed]),
        )

    def _ours(self, way: str) -> Row:
        label = WAYS[way]
        try:
            options = self._options(way)
            if options is None:
                return Row(way, label, reason="the schedule of least memory is the fastest, too")
            compiled = self._compiled(options, self.settings.core)
            ran = run_compiled(compiled, self.case.samples)
            pairs = list(zip(self.case.expected.values(), ran.outputs.values(), strict=True))
            boards = {
                board.name: self._own_on_board(compiled, options, board) for board in self.settings.boards_of(way)
            }
        except _FAILURES as error:
            return Row(way, label, reason=_one_line(error))
        report = compiled.report
        exact = ran.guard_intact and all(same(one, other) for one, other in pairs)
        return Row(
            way,
            label if options.ram is None else f"Pex, --ram {options.ram}",
            arena_bytes=compiled.arena_bytes,
            arena_without_io_bytes=report["arena_without_io_bytes"],
            executed_macs=report["executed_macs"],
            predicted_instructions=report["instructions"],
            planning_seconds=report["planning_seconds"],
            build_seconds=report["build_seconds"],
            exact=exact and all(board.exact is not False for board in boards.values()),
            tolerance=TOLERANCE if any(differs_as_float(one, other) for one, other in pairs) else None,
            tflite=self.case.differences(list(ran.outputs.values())),
            boards=boards,
            buffers=tuple(_buffers(report)) if way in ("layers", "pex") else (),
        )

    def _options(self, way: str) -> PlanOptions | None:
        """None where a budget between the least memory and the fastest schedule's says nothing."""
        if way in _PLANS:
            return _PLANS[way]
        front = self._front()
        fastest, least = front[0][0], front[-1][0]
        return PlanOptions(ram=least + (fastest - least) // BUDGETS[way]) if fastest > least else None

    def _compiled(self, options: PlanOptions, core: str) -> CompiledModel:
        return compile_model(self.case.model, replace(options, core=core))

    def _own_on_board(self, compiled: CompiledModel, options: PlanOptions, board: Board) -> OnBoard:
        if board.cpu != self.settings.core:
            try:
                compiled = self._compiled(options, board.cpu)
            except _FAILURES as error:
                return OnBoard(reason=_one_line(error))
        places = compiled.input_places, compiled.output_places
        return self._on_board(in_one_arena(compiled.build, compiled.pool_bytes, *places), board)

    def _on_board(self, network: Network, board: Board) -> OnBoard:
        first: dict[str, Array] = {name: values[:1] for name, values in self.case.samples.items()}
        expected = {name: values[:1] for name, values in self.case.expected.items()}
        self.progress(f"{self.now}, on {board.name}", self.done)
        task = Task(board, board, first, expected, self.settings.optimize, self.settings.timeout)
        try:
            report = run_firmware(network, task)
        except (FirmwareError, EmulationError) as error:
            return OnBoard(network.arena_bytes, reason=_one_line(error))
        weights = _weights(report.sections)
        return OnBoard(
            report.arena_bytes,
            report.stack_bytes,
            report.sections.ram_bytes,
            report.sections.flash_bytes,
            report.sections.flash_bytes - weights,
            weights,
            report.instructions,
            report.exact,
        )


def _buffers(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    keys = ("name", "bytes", "offset", "first", "last")
    return ({key: buffer[key] for key in keys} for buffer in report["buffers"])


def _weights(sections: Sections) -> int:
    return sum(size for name, size in sections.flash.items() if name.startswith(".rodata"))


def _io_bytes(case: Case) -> int:
    ports = (*case.model.inputs, *case.model.outputs)
    return sum(CPort(port.name, port.name, port.shape, port.dtype).bytes for port in ports)


def _stock_network(plan: StockPlan) -> Network:
    return in_one_arena(plan.build, {POOL: plan.workspace_bytes}, {}, {})


def _workspace(attempt: Attempt) -> int:
    assert attempt.workspace_bytes is not None
    return attempt.workspace_bytes


def _named(plan: StockPlan | Attempt) -> str:
    layout = "" if plan.alter_op_layout else ", without AlterOpLayout"
    return f"{plan.target}{layout}, {plan.planner}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def many(
    paths: Sequence[tuple[Path, bool]], settings: Settings, store: Store, progress: Callable[[str, int, int], None]
) -> Iterator[Subject]:
    """Each (path, quantized_io) in turn. ``progress`` is called with what begins, the rows done and rows in all."""
    rows = len(settings.ways)
    for number, (path, quantized_io) in enumerate(paths):

        def step(what: str, done: int, before: int = number * rows) -> None:
            progress(what, before + done, len(paths) * rows)

        yield measure(path, settings, store, step, quantized_io=quantized_io)
