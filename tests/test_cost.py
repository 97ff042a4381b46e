"""Predicted instructions beside those that the emulator counts."""

from __future__ import annotations

import functools

import pytest
from model_files import OWN

from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.microtvm.bare_metal.build import in_one_arena
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.options import PlanOptions
from tvm_pex.port_files import Array
from tvm_pex.verification.firmware import Task, run_firmware
from tvm_pex.verification.verify import reference_outputs, sample_inputs

pytestmark = pytest.mark.xdist_group("prices of the own network")  # whose builds the tests share

MODEL = load_model(OWN)


@functools.cache
def compiled(core: str, part: float | None = None) -> CompiledModel:
    """With the least memory, or with ``part`` times as much."""
    ram = None if part is None else int(compiled(core).arena_bytes * part)
    return compile_model(MODEL, PlanOptions(core=core, ram=ram))


@functools.cache
def expected() -> tuple[dict[str, Array], dict[str, Array]]:
    """An input, and stock TVM's output."""
    inputs = sample_inputs(MODEL, 1, 0)
    return inputs, reference_outputs(MODEL, inputs)


def measured(compiled: CompiledModel, board: str) -> int:
    network = in_one_arena(compiled.build, compiled.pool_bytes, compiled.input_places, compiled.output_places)
    report = run_firmware(network, Task(BOARDS[board], BOARDS[board], *expected()))
    assert report.exact
    return report.instructions


@pytest.mark.parametrize(("board", "percent"), [("mps2-an385", 15), ("mps2-an386", 15), ("mps3-an547", 25)])
def test_what_is_predicted_is_what_is_executed(board: str, percent: int) -> None:
    """A network that the prices were not fitted to, with the least memory and with more."""
    for part in (None, 1.25):
        program = compiled(BOARDS[board].cpu, part)
        predicted, executed = program.report["instructions"], measured(program, board)
        assert abs(predicted - executed) * 100 <= percent * executed, (predicted, executed)


def test_instructions_of_operators_add_up() -> None:
    report = compiled("cortex-m4").report
    assert sum(row["instructions"] for row in report["operators"]) == report["instructions"]


def test_kernels_with_scratch_are_faster_and_within_the_budget() -> None:
    least, more = compiled("cortex-m4"), compiled("cortex-m4", 2)
    assert more.arena_bytes <= 2 * least.arena_bytes
    assert more.report["instructions"] < least.report["instructions"]
