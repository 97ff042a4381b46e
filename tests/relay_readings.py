"""What the Relay reader finds in a function, run by tests/interpreter.py and held against what stock TVM builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from interpreter import run_graph
from relay_forms import random, stock, typed

from tvm_pex._tvm import relay
from tvm_pex.frontend.reader import Reading, read_function


def random_inputs(func: Any, seed: int) -> dict[str, Any]:
    inputs = {}
    for index, param in enumerate(func.params):
        shape = tuple(int(n) for n in param.checked_type.shape)
        dtype = param.checked_type.dtype
        if dtype.startswith("float"):
            inputs[param.name_hint] = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
        else:
            inputs[param.name_hint] = random(*shape, dtype=dtype, seed=seed + index)
    return inputs


def assert_exact(func: Any, reading: Reading, seeds: Sequence[int] = (7,)) -> None:
    """The tensors that leave the owned part are stock TVM's, when those that enter it are."""
    entering = [reading.expressions[name] for name in reading.graph.inputs]
    leaving = [expr for _, expr in reading.uses]
    probe = relay.Function(func.params, relay.Tuple(entering + leaving))
    for values in stock(probe, *(random_inputs(func, seed) for seed in seeds)):
        results = run_graph(reading.graph, dict(zip(reading.graph.inputs, values)))
        for (name, _), want in zip(reading.uses, values[len(entering) :], strict=True):
            np.testing.assert_array_equal(results[name].reshape(want.shape), want, err_msg=name)
            assert results[name].dtype == want.dtype


def read(body: Any) -> Reading:
    """Reads a network that Pex owns from end to end, and holds it against stock TVM."""
    func = typed(body)
    reading = read_function(func)
    assert reading.refused == ()
    assert_exact(func, reading, seeds=(7, 8))
    return reading


def only(body: Any) -> Any:
    """The one operator of a network."""
    (operator,) = read(body).graph.operators
    return operator


def reasons(body: Any) -> dict[str, str]:
    return {refusal.operator: refusal.reason for refusal in read_function(typed(body)).refused}


def encoded(body: Any, values: Any) -> None:
    """Owned, and of the bytes that stock TVM gives for ``values``."""
    func = typed(body)
    reading = read_function(func)
    assert reading.refused == ()
    (results,) = stock(func, {"x": values})
    made = run_graph(reading.graph, {"x": values})[reading.graph.outputs[0]]
    np.testing.assert_array_equal(made.reshape(results[0].shape), results[0])
    assert made.dtype == results[0].dtype
