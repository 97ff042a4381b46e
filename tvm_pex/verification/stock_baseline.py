"""The least memory that stock TVM plans for a module: the baseline that an arena is compared with.

TVM's targets, layouts and planners differ several times over in memory, and no one of them is always the best. So all
are built, and the best counts. ``TARGETS`` are those whose C runs on any machine, so that the baseline can be run, too.
``ALL_TARGETS`` has one more, whose C needs CMSIS and is only planned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm_pex._tvm import tvm
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.lowering.aot import STOCK_PLANNERS, AotError, CBuild, build_c

TARGETS = ("c -keys=cpu", "c -keys=arm_cpu,cpu")
ALL_TARGETS = (*TARGETS, "c -keys=arm_cpu,cpu -mcpu=cortex-m4")
_ALGORITHM = "best_stock"


@dataclass(frozen=True)
class Attempt:
    """One configuration: the bytes of workspace that it plans, or None and the ``reason`` why it does not build."""

    target: str
    alter_op_layout: bool
    planner: str
    workspace_bytes: int | None
    reason: str = ""


@dataclass(frozen=True)
class StockPlan:
    """A configuration with its best planner, its C, and everything that was tried.

    ``workspace_bytes`` covers neither the model's input nor its output: TVM leaves these to the caller. ``seconds`` is
    what the build took.
    """

    target: str
    alter_op_layout: bool
    planner: str
    workspace_bytes: int
    build: CBuild
    tried: tuple[Attempt, ...]
    seconds: float = 0.0


def best_stock(mod: Any, progress: Callable[[int, int], None] | None = None) -> StockPlan:
    """The plan of least workspace among ``stock_plans``. Of equals the first wins."""
    return min(stock_plans(mod, progress), key=lambda plan: plan.workspace_bytes)


def stock_plans(
    mod: Any, progress: Callable[[int, int], None] | None = None, targets: Sequence[str] = TARGETS
) -> list[StockPlan]:
    """Build ``mod`` (parameters bound) in every configuration, each as its best planner lays it out.

    Shifts that C leaves undefined are given their mathematical result, so that the baseline can be run. ``progress`` is
    called with the number of builds done and of all. Raises AotError when none of them builds.
    """
    mod = tvm.IRModule.from_expr(define_shifts(mod["main"])[0])
    tried: list[Attempt] = []
    built: list[tuple[Attempt, CBuild, float]] = []
    choices = [(target, alter_op_layout) for target in targets for alter_op_layout in (True, False)]
    for done, (target, alter_op_layout) in enumerate(choices):
        if progress:
            progress(done, len(choices))
        started = time.perf_counter()
        attempts, build = _attempt(mod, target, alter_op_layout)
        tried += attempts
        if build:
            best = next(a for a in attempts if a.workspace_bytes == build.workspace_bytes)
            built.append((best, build, time.perf_counter() - started))
    if not built:
        raise AotError(f"stock TVM builds none of its configurations: {tried[0].reason}")
    return [
        StockPlan(best.target, best.alter_op_layout, best.planner, build.workspace_bytes, build, tuple(tried), seconds)
        for best, build, seconds in built
    ]


def _attempt(mod: Any, target: str, alter_op_layout: bool) -> tuple[list[Attempt], CBuild | None]:
    """One build serves all planners: they place the same buffers. The C is laid out as by the best of them."""
    planners = _Planners()
    tvm.register_func(f"tir.usmp.algo.{_ALGORITHM}", planners, override=True)
    disabled = () if alter_op_layout else ("AlterOpLayout",)
    build, reason = None, ""
    try:
        build = build_c(mod, target=target, planner=_ALGORITHM, disabled_pass=disabled)
    except Exception as error:  # whatever it is, it is why this configuration cannot be the baseline
        reason = _last_line(error)
    attempts = [
        Attempt(target, alter_op_layout, name, *((planners.peaks.get(name, 0), "") if build else (None, reason)))
        for name in STOCK_PLANNERS
    ]
    return attempts, build


class _Planners:
    """A planner in TVM's sense: asks each of TVM's own, and answers as the one with the lowest peak."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}

    def __call__(self, buffers: Any, pressure: Any) -> Any:
        plans = {name: tvm.get_global_func(f"tir.usmp.algo.{name}")(buffers, pressure) for name in STOCK_PLANNERS}
        self.peaks = {name: _peak(plan) for name, plan in plans.items()}
        return plans[min(self.peaks, key=lambda name: self.peaks[name])]


def _peak(plan: Any) -> int:
    return max((int(at.byte_offset) + int(info.size_bytes) for info, at in plan.items()), default=0)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
