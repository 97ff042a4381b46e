"""The loop: choose channels by the program's own memory, remove them, fine-tune, log; until the budgets are met."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_pex.codesign import planner as measures
from tvm_pex.codesign.architecture import architecture_of
from tvm_pex.codesign.choice import Ground, Measure, choose
from tvm_pex.codesign.data import Data
from tvm_pex.codesign.importance import importance
from tvm_pex.codesign.network import flash_bytes, int8_graph, layer_by_layer
from tvm_pex.codesign.planner import Planner
from tvm_pex.codesign.removal import remove
from tvm_pex.codesign.state import Round, State
from tvm_pex.codesign.training import BATCH, accuracy, tensorflow, train
from tvm_pex.codesign.wiring import wiring

_JUDGED = 16  # batches from which Taylor scores are taken

Report = Callable[[str, "int | None", "int | None"], None]


@dataclass(frozen=True)
class Settings:
    """``ram``, ``flash`` (bytes) and ``macs`` are budgets. In a round the first budget that is not met comes closer by
    the share ``cut`` of its measure, in steps of the share ``step`` of a group's channels; then ``epochs`` of
    fine-tuning, and ``final_epochs`` when all are met, at the rate ``rate``.
    """

    ram: int
    flash: int | None = None
    macs: int | None = None
    method: str = "pex"
    importance: str = "taylor"
    overwrite_input: bool = False
    seed: int = 0
    cut: float = 0.15
    step: float = 0.1
    epochs: int = 1
    final_epochs: int = 5
    rate: float = 1e-3


@dataclass(frozen=True)
class _Goal:
    what: str
    measure: Measure
    budget: int


def prune(model: Any, data: Data, settings: Settings, state: State, report: Report, jobs: int | None = None) -> Any:
    """The pruned and trained network; goes on where ``state`` ends.

    Each round depends on the network before it and the seed alone, so that a run that was interrupted ends as one that
    was not. Raises choice.Unreachable for budgets that no removal meets.
    """
    tf = tensorflow()
    if state.final.exists():
        return tf.keras.models.load_model(state.final, compile=False)
    with Planner(settings.overwrite_input, jobs) as planner:
        rounds = state.rounds()
        if rounds:
            model = tf.keras.models.load_model(state.network(rounds), compile=False)
        else:
            rounds = [_logged(0, model, data, planner, "", report)]
            state.write(rounds, model)
        goals = list(_goals(settings, planner))
        while (goal := _first_unmet(goals, model)) is not None:
            model, removed = _smaller(model, data, goal, settings, rounds[-1].round + 1, report)
            number = rounds[-1].round + 1
            fit = _reporter(report, f"round {number}: fine-tuning")
            train(model, data, settings.epochs, settings.rate, settings.seed + number, fit)
            rounds = [*rounds, _logged(number, model, data, planner, removed, report)]
            state.write(rounds, model)
    train(
        model,
        data,
        settings.final_epochs,
        settings.rate,
        settings.seed,
        _reporter(report, f"{settings.final_epochs} last epochs"),
    )
    state.save(model, state.final)
    return model


def _reporter(report: Report, what: str) -> Callable[[int, int], None]:
    return lambda done, total: report(what, done, total)


def _goals(settings: Settings, planner: Planner) -> Iterator[_Goal]:
    if settings.method == "layers":
        yield _Goal("layer by layer, bytes", measures.layers, settings.ram)
    else:
        yield _Goal("arena, bytes", planner.arenas, settings.ram)
    if settings.flash is not None:
        yield _Goal("constants, bytes", measures.flash, settings.flash)
    if settings.macs is not None:
        yield _Goal("multiply-accumulates", measures.macs, settings.macs)


def _first_unmet(goals: Sequence[_Goal], model: Any) -> _Goal | None:
    graph = int8_graph(architecture_of(model))
    return next((goal for goal in goals if goal.measure([graph])[0].peak > goal.budget), None)


def _smaller(model: Any, data: Data, goal: _Goal, settings: Settings, number: int, report: Report) -> tuple[Any, str]:
    """The network closer to the goal, and what was removed."""
    architecture = architecture_of(model)
    wires = wiring(architecture)
    worth = importance(model, wires, settings.importance, _batches(data, settings.seed + number))
    ground = Ground(architecture, wires, worth, settings.step)
    (load,) = goal.measure([ground.graph(frozenset())])
    target = max(goal.budget, round(load.peak * (1 - settings.cut)))

    def note(peak: int) -> None:
        report(f"round {number}: {goal.what}: {peak:,} of {goal.budget:,}", load.peak - peak, load.peak - target)

    gone = choose(ground, settings.method, goal.measure, target, note)
    kept = {name: np.array([c for c in ids.tolist() if c not in gone]) for name, ids in wires.groups.items()}
    removed = [f"{name}={len(wires.groups[name]) - len(left)}" for name, left in kept.items()]
    return remove(model, kept), " ".join(text for text in removed if not text.endswith("=0"))


def _batches(data: Data, seed: int) -> Iterator[tuple[Any, Any]]:
    order = np.random.default_rng(seed).permutation(len(data.train))
    for first in range(0, min(_JUDGED * BATCH, len(order)), BATCH):
        part = data.train.part(order[first : first + BATCH])
        yield part.inputs, part.labels


def _logged(number: int, model: Any, data: Data, planner: Planner, removed: str, report: Report) -> Round:
    report(f"round {number}: accuracy", None, None)
    architecture = architecture_of(model)
    graph, groups = int8_graph(architecture), wiring(architecture).groups
    return Round(
        number,
        planner.arenas([graph])[0].peak,
        layer_by_layer(graph),
        flash_bytes(graph),
        graph.macs(),
        round(accuracy(model, data.validation), 5),
        " ".join(f"{name}={len(channels)}" for name, channels in groups.items()),
        removed,
    )


def as_record(settings: Settings) -> dict[str, Any]:
    """For a file."""
    return dataclasses.asdict(settings)
