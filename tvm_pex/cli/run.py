"""``tvm-pex run``."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from tvm_pex.cli.errors import BadInput, FirmwareFailed, NothingFits
from tvm_pex.cli.input_files import check_input, read_inputs
from tvm_pex.cli.planning import (
    Request,
    Step,
    byte_count,
    check_output,
    compile_request,
    planning,
    print_json,
    progress,
)
from tvm_pex.files import write_whole
from tvm_pex.microtvm.boards import BOARDS, DEFAULT_BOARD, Board
from tvm_pex.microtvm.tools import MissingTools, check_tools
from tvm_pex.report import firmware_table

if TYPE_CHECKING:
    from tvm_pex.compiler import CompiledModel
    from tvm_pex.frontend.tflite_model import Model
    from tvm_pex.verification.firmware import FirmwareReport, Task


def _seconds(_context: click.Context, option: click.Parameter, seconds: float) -> float:
    if not 0.001 <= seconds <= 1e6:  # not click's range, which takes nan
        raise BadInput(f"{option.opts[0]} {seconds}: give seconds, from 0.001 to 1000000")
    return seconds


@dataclass(frozen=True)
class _Choices:
    """How to run: everything but the plan."""

    board: Board
    device: Board
    input: Path | None
    seed: int
    stock: bool
    per_operator: bool
    optimize: str
    timeout: float


@click.command()
@planning
@click.option(
    "--board", type=click.Choice(list(BOARDS)), default=DEFAULT_BOARD, show_default=True, help="What to emulate."
)
@click.option("--input", "input_", type=click.Path(path_type=Path), metavar="FILE", help="See below; random without.")
@click.option("--output", type=click.Path(path_type=Path), metavar="Y.npy", help="Write the output; .npz for several.")
@click.option("--stock", is_flag=True, help="Run stock TVM's best plan beside it.")
@click.option("--per-operator", is_flag=True, help="Show what each operator executes.")
@click.option("--device-ram", metavar="BYTES", callback=byte_count, help="Let the firmware fit this much RAM, as 64k.")
@click.option("--device-flash", metavar="BYTES", callback=byte_count, help="Let it fit this much flash, as 1m.")
@click.option("--optimize", type=click.Choice(["-Os", "-O2", "-O3"]), default="-O2", show_default=True, help="For gcc.")
@click.option("--timeout", type=float, callback=_seconds, default=300, show_default=True, help="Seconds for a run.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random input.")
def run(
    request: Request, board: str, input_: Path | None, output: Path | None, device_ram: int | None,
    device_flash: int | None, **how: Any,
) -> None:  # fmt: skip
    """Build bare-metal firmware, run it on an emulated board, compare every output byte, measure it.

    The outputs are compared with stock TVM's program on this machine; float outputs are the same within 1e-5 of their
    range. With --rounding tflite they are compared with those of the same C on this machine, which verify compares with
    TFLite's. RAM and flash are those of the linked file, stack is what was in use, instructions are what was executed,
    not cycles: the same numbers on any machine.

    With --per-operator an instruction counts for the operator to which the compiler's debug information assigns it, and
    what is called there for the operator that calls it. Beside it stand the instructions that the plan predicts, the
    multiply-accumulates (MACs), and the share outside inner loops: those loops that hold no other loop and no call.

    All memory pools of --pool lie in the one RAM of the board.

    An input is a .npy file (.npz for several inputs, by name), with integers as the model takes them or with numbers
    that are quantised as the model says; a picture, which is resized, black being the least value that the input can
    hold and white the largest (0 and 1 for floats); or a .wav of 16-bit samples for a model that takes samples.

    Exit status: 0 all outputs are the same; 1 not so; 2 bad input or a missing tool; 3 it does not fit; 4 the firmware
    did not come to its end: stack overflow, hard fault, or out of time.

    \b
    Examples:
      tvm-pex run model.tflite
      tvm-pex run --board netduinoplus2 --stock model.tflite
      tvm-pex run --device-ram 64k --device-flash 1m model.tflite
      tvm-pex run --input picture.png --output scores.npy model.tflite
      tvm-pex run --json --per-operator model.tflite | jq .operators
    """
    if request.hop is not None:
        raise BadInput("run has no --hop: apps/listen runs continuous recognition on an emulated board")
    if output:
        check_output(output, "--output")
    if input_:
        check_input(input_)
    whole = BOARDS[board]
    try:
        check_tools()
        choices = _Choices(whole, whole.shrunk(device_ram, device_flash), input_, **how)
    except (MissingTools, ValueError) as error:
        raise BadInput(str(error)) from None
    with progress() as step:
        model, compiled = compile_request(request.on(whole.cpu), step)
        if output and output.suffix != ".npz" and len(model.outputs) > 1:
            raise BadInput(f"{output}: the model has {len(model.outputs)} outputs; give the name of a .npz")
        report, stock = _measured(model, compiled, choices, step)
    if output:
        _write_outputs(output, report.outputs)
    measured = firmware_table.as_json(report, compiled.report["operators"])
    answer = {"model": model.name, "board": board, "optimize": choices.optimize, **measured}
    if stock:
        answer["stock"] = stock
    if request.as_json:
        print_json(answer)
    else:
        firmware_table.show(answer, choices.device)
    sys.exit(0 if report.exact and (stock or {}).get("exact", True) else 1)


def _measured(
    model: Model, compiled: CompiledModel, choices: _Choices, step: Step
) -> tuple[FirmwareReport, dict[str, Any] | None]:
    from tvm_pex.microtvm.bare_metal.build import FirmwareError, TooSmallError, in_one_arena
    from tvm_pex.microtvm.emulation import EmulationError
    from tvm_pex.verification.firmware import run_firmware
    from tvm_pex.verification.host_run import HostError

    network = in_one_arena(compiled.build, compiled.pool_bytes, compiled.input_places, compiled.output_places)
    try:
        task = _task(model, compiled, choices, step)
        step(f"running on {choices.board.name}", None, None)
        report = run_firmware(network, task)
        return report, _stock(model, task, step) if choices.stock else None
    except TooSmallError as error:
        raise NothingFits(str(error)) from None
    except EmulationError as error:
        raise FirmwareFailed(f"{choices.board.name}: {error}") from None
    except (FirmwareError, HostError) as error:
        raise click.ClickException(str(error)) from None


def _task(model: Model, compiled: CompiledModel, choices: _Choices, step: Step) -> Task:
    from tvm_pex.verification.firmware import Task
    from tvm_pex.verification.verify import reference_outputs, run_compiled, sample_inputs

    ports = model.inputs
    inputs = read_inputs(choices.input, ports) if choices.input else sample_inputs(model, 1, choices.seed)
    step("running on this machine", None, None)
    stock = compiled.graph.rounding == "tvm"
    names = [name for segment in compiled.report["segments"] for name in segment["operators"]]
    return Task(
        choices.board,
        choices.device,
        inputs,
        reference_outputs(model, inputs) if stock else run_compiled(compiled, inputs).outputs,
        choices.optimize,
        choices.timeout,
        names if choices.per_operator else None,
    )


def _stock(model: Model, task: Task, step: Step) -> dict[str, Any]:
    """Stock TVM's best plan, in the form of our own, or why it does not run."""
    from tvm_pex.lowering.aot import POOL, AotError
    from tvm_pex.microtvm.bare_metal.build import TooSmallError, in_one_arena
    from tvm_pex.microtvm.emulation import EmulationError
    from tvm_pex.verification.firmware import run_firmware
    from tvm_pex.verification.stock_baseline import best_stock

    try:
        plan = best_stock(model.mod, lambda done, of: step("building with stock TVM", done, of))
    except AotError as error:
        return {"reason": str(error)}
    network = in_one_arena(plan.build, {POOL: plan.workspace_bytes}, {}, {})
    step(f"running stock TVM on {task.board.name}", None, None)
    about = {"target": plan.target, "alter_op_layout": plan.alter_op_layout, "planner": plan.planner}
    try:
        return about | firmware_table.as_json(run_firmware(network, task))
    except (TooSmallError, EmulationError) as error:
        return about | {"arena_bytes": network.arena_bytes, "reason": str(error)}


def _write_outputs(path: Path, outputs: Mapping[str, Any]) -> None:
    """One run's outputs, each in its port's shape."""
    file = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(file, **{name: values[0] for name, values in outputs.items()})
    else:
        (values,) = outputs.values()
        np.save(file, values[0])
    try:
        write_whole(path, file.getvalue())
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
