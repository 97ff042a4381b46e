"""Predicted instructions beside those that the emulator counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.microtvm.bare_metal.build import in_one_arena
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.options import PlanOptions
from tvm_pex.verification.firmware import Task, run_firmware
from tvm_pex.verification.verify import reference_outputs, sample_inputs

OWN = Path(__file__).parents[1] / "apps" / "fashion_mnist" / "fashion_mnist.tflite"


def measured(compiled: CompiledModel, board: str) -> int:
    model = compiled.model
    network = in_one_arena(compiled.build, compiled.pool_bytes, compiled.input_places, compiled.output_places)
    inputs = sample_inputs(model, 1, 0)
    report = run_firmware(network, Task(BOARDS[board], BOARDS[board], inputs, reference_outputs(model, inputs)))
    assert report.exact
    return report.instructions


@pytest.mark.parametrize(("board", "percent"), [("mps2-an385", 15), ("mps2-an386", 15), ("mps3-an547", 25)])
def test_what_is_predicted_is_what_is_executed(board: str, percent: int) -> None:
    """A network that the prices were not fitted to, with the least memory and with more."""
    model = load_model(OWN)
    options = PlanOptions(core=BOARDS[board].cpu)
    least = compile_model(model, options)
    for compiled in (least, compile_model(model, replace(options, ram=least.arena_bytes * 5 // 4))):
        predicted, executed = compiled.report["instructions"], measured(compiled, board)
        assert abs(predicted - executed) * 100 <= percent * executed, (predicted, executed)


def test_instructions_of_operators_add_up() -> None:
    report = compile_model(load_model(OWN), PlanOptions(core="cortex-m4")).report
    assert sum(row["instructions"] for row in report["operators"]) == report["instructions"]


def test_kernels_with_scratch_are_faster_and_within_the_budget() -> None:
    model = load_model(OWN)
    least = compile_model(model, PlanOptions(core="cortex-m4"))
    more = compile_model(model, PlanOptions(core="cortex-m4", ram=2 * least.arena_bytes))
    assert more.arena_bytes <= 2 * least.arena_bytes
    assert more.report["instructions"] < least.report["instructions"]
