"""Real images classified by firmware on an emulated Cortex-M4 whose RAM is too small for stock TVM's plan."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "fashion_mnist"))

from data import DIRECTORY, Bytes, load
from demo import cannot_run
from demo_output import Step, gallery, percent, progress, yes_no

if TYPE_CHECKING:
    from tvm_pex.frontend.tflite_model import Model
    from tvm_pex.microtvm.bare_metal.build import Network
    from tvm_pex.verification.firmware import FirmwareReport, Task

MODEL = Path(__file__).parents[1] / "fashion_mnist" / "fashion_mnist.tflite"
BOARD = "mps2-an386"
RAM, FLASH = 16 << 10, 64 << 10


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--images", type=click.IntRange(min=1), default=20, show_default=True, help="How many test images.")
@click.option("--data", type=click.Path(path_type=Path), default=DIRECTORY, show_default=True, help="The idx files.")
@click.option("--ram", type=click.IntRange(min=1), default=RAM, show_default=True, help="Bytes of RAM of the device.")
@click.option("--flash", type=click.IntRange(min=1), default=FLASH, show_default=True, help="Bytes of its flash.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(images: int, data: Path, ram: int, flash: int, as_json: bool) -> None:
    """Run tvm_pex's firmware on test images, in a device that stock TVM's firmware does not fit.

    Stock TVM's firmware then runs in all of the emulated board's memory, and both must say what stock TVM says on this
    machine. Exit status: 0 they do; 1 not so; 2 the demo cannot run; 3 tvm_pex's firmware does not fit either.

    \b
    Examples:
      firmware_demo.py
      firmware_demo.py --images 200 --ram 12288
      firmware_demo.py --json | jq .stock.reason
    """
    try:
        pixels, labels = (part[:images] for part in load("test", data))
    except (OSError, EOFError, ValueError) as error:
        cannot_run(error)
    with progress() as step:
        report, scores = measure(pixels, ram, flash, step)
    predicted = scores.argmax(axis=1)
    report |= {"images": len(labels), "accuracy": float(np.mean(predicted == labels))}
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        show(report, pixels, labels, predicted)
    sys.exit(0 if report["exact"] else 1)


def measure(pixels: Bytes, ram: int, flash: int, step: Step) -> tuple[dict[str, Any], Any]:
    """The report without what the labels say, and a row of scores for each image."""
    step("loading TVM", None, None)
    try:
        from tvm_pex import _tvm
    except ImportError as error:
        cannot_run(error)
    from tvm_pex.frontend.tflite_model import load_model
    from tvm_pex.microtvm.bare_metal.build import TooSmallError
    from tvm_pex.microtvm.boards import BOARDS
    from tvm_pex.microtvm.tools import MissingTools, check_tools
    from tvm_pex.verification.firmware import Task, run_firmware
    from tvm_pex.verification.verify import reference_outputs

    _tvm.silence()
    board = BOARDS[BOARD]
    try:
        check_tools()
        device = board.shrunk(ram, flash)
    except (MissingTools, ValueError) as error:
        cannot_run(error)
    model = load_model(MODEL)
    port = model.inputs[0]
    values = (pixels.astype(np.int16) + (port.zero_point or 0)).astype(port.dtype).reshape(-1, *port.shape)
    inputs = {port.name: values}
    step("running stock TVM on this machine", None, None)
    task = Task(board, device, inputs, reference_outputs(model, inputs))
    step("running tvm_pex's firmware in the device", None, None)
    try:
        report = run_firmware(compiled(model), task)
    except TooSmallError as error:
        click.echo(f"firmware_demo: {error}", err=True)
        sys.exit(3)
    stock = best_plan(model, step)
    step("running stock TVM's firmware in all of the board", None, None)
    whole = run_firmware(stock, replace(task, device=board))
    answer = {
        "board": BOARD,
        "device_ram_bytes": ram,
        "device_flash_bytes": flash,
        "exact": report.exact and whole.exact,
        "pex": figures(report),
        "stock": figures(whole) | {"reason": why_not(stock, task)},
    }
    return answer, next(iter(report.outputs.values())).reshape(len(pixels), -1)


def compiled(model: Model) -> Network:
    from tvm_pex.compiler import compile_model
    from tvm_pex.microtvm.bare_metal.build import in_one_arena

    made = compile_model(model)
    return in_one_arena(made.build, made.pool_bytes, made.input_places, made.output_places)


def best_plan(model: Model, step: Step) -> Network:
    from tvm_pex.lowering.aot import POOL
    from tvm_pex.microtvm.bare_metal.build import in_one_arena
    from tvm_pex.verification.stock_baseline import best_stock

    plan = best_stock(model.mod, lambda done, of: step("building with stock TVM", done, of))
    return in_one_arena(plan.build, {POOL: plan.workspace_bytes}, {}, {})


def figures(report: FirmwareReport) -> dict[str, int]:
    return {
        "arena_bytes": report.arena_bytes,
        "stack_bytes": report.stack_bytes,
        "ram_bytes": report.sections.ram_bytes,
        "flash_bytes": report.sections.flash_bytes,
        "instructions": report.instructions,
    }


def why_not(network: Network, task: Task) -> str | None:
    """What the linker says of the device; None if the network fits."""
    from tvm_pex.microtvm.bare_metal.build import TooSmallError
    from tvm_pex.verification.firmware import run_firmware

    try:
        run_firmware(network, task)
    except TooSmallError as error:
        return str(error)
    return None


def show(report: dict[str, Any], pixels: Bytes, labels: Bytes, predicted: Bytes) -> None:
    console = Console(markup=False, highlight=False)
    console = console if console.is_terminal else Console(markup=False, highlight=False, width=100)
    console.print(gallery(pixels[:3], labels, predicted))
    ours, stock = report["pex"], report["stock"]
    table = Table(f"{report['images']:,} test images on {report['board']}", title_justify="left")
    table.add_column("tvm_pex", justify="right")
    table.add_column("stock TVM, best plan", justify="right")
    device = f"{report['device_ram_bytes']:,} bytes of RAM, {report['device_flash_bytes']:,} of flash"
    table.add_row(f"fits {device}", "yes", yes_no(stock["reason"] is None))
    for label, key in (
        ("arena, bytes", "arena_bytes"),
        ("stack in use, bytes", "stack_bytes"),
        ("RAM, bytes", "ram_bytes"),
        ("flash, bytes", "flash_bytes"),
        ("instructions for an image", "instructions"),
    ):
        table.add_row(label, f"{ours[key]:,}", f"{stock[key]:,}")
    table.add_row("same outputs as stock TVM", yes_no(report["exact"]), "reference")
    table.add_row("right", percent(report["accuracy"]), "")
    console.print(table)
    if stock["reason"]:
        console.print(f"The linker on stock TVM: {stock['reason']}.", soft_wrap=True)
        console.print("Its figures are those in all of the board's memory.")


if __name__ == "__main__":
    main()
