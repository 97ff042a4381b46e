"""Stock TVM's plans of the project's own network, built once for all tests that report them beside ours."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from model_files import OWN

from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.verification import stock_baseline
from tvm_pex.verification.stock_baseline import StockPlan, stock_plans

GROUP = pytest.mark.xdist_group("stock plans of the own network")  # they run in one process


@functools.cache
def own_plans() -> tuple[StockPlan, ...]:
    return tuple(stock_plans(load_model(OWN).mod))


def own_best(_mod: Any, _progress: Any = None) -> StockPlan:
    """In the place of ``best_stock``, for the own network alone."""
    return min(own_plans(), key=lambda plan: plan.workspace_bytes)


def share(patch: pytest.MonkeyPatch) -> None:
    """Lets ``best_stock`` answer for the own network with what another test built."""
    patch.setattr(stock_baseline, "best_stock", own_best)
