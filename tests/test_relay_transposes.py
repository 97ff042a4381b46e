"""Transposes that a mean makes needless: which vanish, and that the values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relay_forms import random, requantise, source, stock, typed

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.transposes import drop_transposes
from tvm_pex.frontend.values import op_name


def mean(data: Any, axis: Any, keepdims: bool = False, **rescale: Any) -> Any:
    return requantise(relay.mean(relay.cast(data, "int32"), axis, keepdims), 0.1, zero_in=3, **rescale)


def nchw(data: Any) -> Any:
    return relay.transpose(data, (0, 3, 1, 2))


X = source(1, 5, 3, 6)
VANISH = {
    "both axes": mean(nchw(X), (2, 3)),
    "both axes kept": mean(nchw(X), (2, 3), True),
    "one axis after the other": mean(mean(nchw(X), 3), 2),
    "one axis after the other, rescaled, kept": mean(mean(nchw(X), -1, True, out=0.07), -2, True),
    "rows first": mean(mean(nchw(X), 2, out=0.07), 2),
    "transposed twice": mean(relay.transpose(mean(nchw(X), 3), (0, 2, 1)), 1),
    "one axis, transposed back in part": mean(relay.transpose(X, (0, 2, 1, 3)), 1),
}
STAY = {
    "no transpose": mean(X, (1, 2)),
    "one axis": mean(nchw(X), 3),
    "read twice": (lambda t: relay.Tuple([mean(t, (2, 3)), t]))(nchw(X)),
}


def dropped(func: Any) -> Any:
    return drop_transposes(relay.transform.InferType()(tvm.IRModule.from_expr(func)))["main"]


def transposes(func: Any) -> int:
    found: list[str] = []
    relay.analysis.post_order_visit(func, lambda expr: found.append(op_name(expr)))
    return found.count("transpose")


@pytest.mark.parametrize("name", sorted(VANISH))
def test_vanishes(name: str) -> None:
    func = typed(VANISH[name])
    after = dropped(func)
    assert transposes(after) == 0
    assert tvm.ir.structural_equal(after.ret_type, func.ret_type)
    reading = read_function(after)
    assert not reading.refused
    assert all(type(op).__name__ == "Pool" for op in reading.graph.operators)
    runs = [{"x": random(1, 5, 3, 6, seed=seed)} for seed in range(3)]
    np.testing.assert_array_equal(np.array(stock(after, *runs)), np.array(stock(func, *runs)))


@pytest.mark.parametrize("name", sorted(STAY))
def test_stays(name: str) -> None:
    mod = tvm.IRModule.from_expr(typed(STAY[name]))
    mod = relay.transform.InferType()(mod)
    assert drop_transposes(mod) is mod


def test_a_deep_network_is_no_recursion() -> None:
    y = X
    for _ in range(1500):
        y = relay.clip(y, -100, 100)
    assert transposes(dropped(typed(mean(nchw(y), (2, 3))))) == 0
