"""PexPartition as a user of TVM meets it: in a Sequential, before an ordinary relay.build."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from model_files import OWN
from relay_forms import convolution, dense, random, source
from tvm.contrib import graph_executor

from tvm_pex import PexPartition
from tvm_pex._tvm import relay, tvm
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import Model, Port, load_model
from tvm_pex.lowering.aot import STOCK_PLANNERS
from tvm_pex.scheduling.schedule import schedule_from_json


def network() -> Any:
    """Two regions around an operator that stays with TVM, the second with a dense layer."""
    x = source(1, 10, 9, 3)
    y = convolution(x, random(3, 3, 3, 8), padding=(1, 1, 1, 1))
    y = convolution(y, random(1, 1, 8, 6, seed=2))
    y = relay.transpose(y, (0, 2, 1, 3))
    y = convolution(y, random(3, 3, 6, 4, seed=3), strides=(2, 2))
    y = dense(relay.reshape(y, (1, -1)), random(5, 64, seed=4))
    return relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], y)))


def partitioned(mod: Any) -> Any:
    return relay.transform.Sequential([PexPartition()])(mod)


def outputs(mod: Any, values: Any, executor: str) -> Any:
    if executor == "graph":
        with tvm.transform.PassContext(opt_level=3):
            built = relay.build(mod, target="llvm")
        run = graph_executor.GraphModule(built["default"](tvm.cpu()))
    else:
        from tvm.runtime.executor import AotModule

        with tvm.transform.PassContext(opt_level=3):
            built = relay.build(mod, target="llvm", executor=relay.backend.Executor("aot"))
        run = AotModule(built["default"](tvm.cpu()))
    run.set_input("x", values)
    run.run()
    return run.get_output(0).numpy()


@pytest.mark.parametrize("executor", ["graph", "aot"])
def test_llvm(executor: str) -> None:
    mod, values = network(), random(1, 10, 9, 3, seed=5)
    wanted = outputs(mod, values, "graph")
    assert np.array_equal(outputs(partitioned(mod), values, executor), wanted)
    assert len(np.unique(wanted)) > 1


@pytest.mark.parametrize("planner", ["", "pex", *STOCK_PLANNERS])
def test_c_with_any_planner(planner: str) -> None:
    """Without tvm_pex's own build: the hook knows conflicts alone, and is not above TVM's planners."""
    config: dict[str, Any] = {"tir.disable_vectorize": True, "tir.usmp.enable": bool(planner)}
    if planner:
        config["tir.usmp.custom_algorithm" if planner == "pex" else "tir.usmp.algorithm"] = planner
    mod = partitioned(load_model(OWN).mod)

    def workspace(settings: dict[str, Any]) -> int:
        with tvm.transform.PassContext(opt_level=3, config=settings):
            built = relay.build(
                mod,
                target=tvm.target.Target("c", host="c"),
                executor=relay.backend.Executor("aot", {"unpacked-api": True, "interface-api": "c"}),
                runtime=relay.backend.Runtime("crt"),
            )
        assert "tvmgen_default_fused_pex_region" in built.lib.imported_modules[0].get_source()
        meta = built.executor_codegen_metadata
        pools = [pool for _, pool in meta.pool_inputs.items() if "const" not in str(pool.pool_info.pool_name)]
        return sum(int(pool.allocated_size) for pool in pools)

    size = workspace(config)
    if planner in STOCK_PLANNERS:
        ours = {key: value for key, value in config.items() if key != "tir.usmp.algorithm"}
        assert workspace({**ours, "tir.usmp.custom_algorithm": "pex"}) <= size


def test_schedule_is_readable_in_the_module() -> None:
    mod = partitioned(network())
    text = str(mod)
    assert text.count("Primitive=1") == 2 and "transpose" in text
    assert 'pex.schedule="' in text and "conv0" in text

    schedules = []

    def visit(node: Any) -> None:
        if isinstance(node, relay.Call) and getattr(node.op, "name", "") == "pex.region":
            schedules.append(schedule_from_json(str(node.attrs["schedule"])))

    for function in _primitives(mod["main"]):
        relay.analysis.post_order_visit(function, visit)
    assert sorted(name for s in schedules for segment in s.segments for name in segment.operators) == [
        "conv0",
        "conv1",
        "conv2",
        "dense3",
    ]


def _primitives(main: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, relay.Call) and isinstance(node.op, relay.Function):
            found.append(node.op)

    relay.analysis.post_order_visit(main, visit)
    return found


def test_module_survives_saving() -> None:
    mod, values = partitioned(network()), random(1, 10, 9, 3, seed=6)
    again = tvm.ir.load_json(tvm.ir.save_json(mod))
    assert np.array_equal(outputs(again, values, "graph"), outputs(network(), values, "graph"))


def test_refusals_are_listed() -> None:
    chosen = PexPartition()
    relay.transform.Sequential([chosen])(network())
    assert [refusal.operator for refusal in chosen.refused] == ["transpose#0"]
    assert chosen.refused[0].reason


def test_nothing_to_own_leaves_the_module_alone() -> None:
    x = source(1, 4, dtype="float32")
    mod = tvm.IRModule.from_expr(relay.Function([x], relay.nn.softmax(x)))
    assert "pex.region" not in str(partitioned(mod))


def test_plan_is_deterministic() -> None:
    model = load_model(OWN)
    one, other = compile_model(model), compile_model(model)
    assert one.memory.pools == other.memory.pools
    assert dict(one.build.files) == dict(other.build.files)


def test_import_order_does_not_matter() -> None:
    code = "import tvm_pex; from tvm_pex import PexPartition; from tvm import relay; print(relay.transform.Sequential)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Sequential" in done.stdout


def test_an_input_called_like_an_operator() -> None:
    x = relay.var("conv0", shape=(1, 6, 6, 3), dtype="int8")
    y = convolution(convolution(x, random(3, 3, 3, 8)), random(3, 3, 8, 4, seed=2))
    mod = relay.transform.InferType()(tvm.IRModule.from_expr(relay.Function([x], y)))
    model = Model("m", mod, (Port("conv0", (1, 6, 6, 3), "int8"),), (Port("output", (1, 2, 2, 4), "int8"),))
    compiled = compile_model(model)
    assert set(compiled.input_places) == {"conv0"}
    assert compiled.report["input_bytes"] == 6 * 6 * 3


def test_stock_operators_with_many_paths() -> None:
    """Of the 2**100 paths through what stays with TVM none is walked by itself."""
    x = relay.var("x", shape=(1, 4, 4, 2), dtype="float32")
    y = x
    for _ in range(100):
        y = relay.floor_divide(relay.reverse(y, 1), relay.reverse(y, 2))
    y = relay.nn.max_pool2d(y, (2, 2), (2, 2), layout="NHWC")
    mod = PexPartition()(tvm.IRModule.from_expr(relay.Function([x], y)))
    assert "pex.schedule" in mod["main"].body.op.attrs
