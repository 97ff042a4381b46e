"""Pictures that never are in memory, classified row by row by firmware on an emulated Cortex-M4."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from tvm_pex.compiler import CompiledModel
    from tvm_pex.microtvm.boards import Board

PROGRAM = Path(__file__).with_name("camera.c")
BOARD = "mps2-an386"
RAM, FLASH = 16 << 10, 512 << 10
STACK = 1024
TIMEOUT = 300  # seconds for all pictures


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--pictures", type=click.IntRange(min=1), default=3, show_default=True, help="How many random pictures.")
@click.option(
    "--picture", "files", type=click.Path(path_type=Path), multiple=True, help="A picture instead; repeat it."
)
@click.option("--ram", type=click.IntRange(min=1), default=RAM, show_default=True, help="Bytes of RAM of the device.")
@click.option("--flash", type=click.IntRange(min=1), default=FLASH, show_default=True, help="Bytes of its flash.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.argument("model", type=click.Path(path_type=Path, exists=True), metavar="MODEL.tflite")
def main(model: Path, pictures: int, files: tuple[Path, ...], ram: int, flash: int, as_json: bool) -> None:
    """Run MODEL on pictures that come through a UART row by row, and compare every output byte with stock TVM.

    \b
    Examples:
      camera.py vww_96_int8.tflite
      camera.py --picture cat.png --ram 12288 vww_96_int8.tflite
    """
    from tvm_pex import _tvm
    from tvm_pex.cli.errors import BadInput
    from tvm_pex.cli.input_files import check_input, read_inputs
    from tvm_pex.compiler import compile_model
    from tvm_pex.frontend.streaming import NotStreamable
    from tvm_pex.frontend.tflite_model import ModelError, load_model
    from tvm_pex.microtvm.bare_metal.build import TooSmallError
    from tvm_pex.microtvm.boards import BOARDS
    from tvm_pex.microtvm.tools import MissingTools, check_tools
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.verify import reference_outputs, sample_inputs

    _tvm.silence()
    try:
        check_tools()
        device = BOARDS[BOARD].shrunk(ram, flash)
        network = load_model(model)
        for file in files:
            check_input(file)
        given = [read_inputs(file, network.inputs) for file in files] or [sample_inputs(network, pictures, 0)]
        compiled = compile_model(network, PlanOptions(stream_input=True))
        if len(network.inputs) > 1:
            raise BadInput(f"{model}: has {len(network.inputs)} inputs, and a camera has one picture")
        inputs = {port.name: np.concatenate([values[port.name] for values in given]) for port in network.inputs}
        expected = reference_outputs(network, inputs)
        report = classify(compiled, device, next(iter(inputs.values())))
    except (MissingTools, ModelError, NotStreamable, BadInput, ValueError) as error:
        fail(2, error)
    except TooSmallError as error:
        fail(3, error)
    answers = [b"".join(values[run].tobytes() for values in expected.values()) for run in range(report["pictures"])]
    report["exact"] = report.pop("answers") == answers
    show(report, as_json)
    sys.exit(0 if report["exact"] else 1)


def fail(status: int, error: object) -> None:
    click.echo(f"camera: {error}", err=True)
    sys.exit(status)


def classify(compiled: CompiledModel, device: Board, pictures: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The firmware's memory, and the bytes that it answers to each picture. Raises TooSmallError."""
    from tvm_pex.microtvm.bare_metal.build import compile_network, in_one_arena, link
    from tvm_pex.microtvm.elf import read_sections

    network = in_one_arena(
        compiled.build, compiled.pool_bytes, dict(compiled.input_places), dict(compiled.output_places)
    )
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        objects = compile_network(network, device, Path(folder))
        elf = link(objects, "camera.elf", stack_bytes=STACK, count_instructions=False, board=device, program=PROGRAM)
        sections = read_sections(elf, device)
        size = sum(port.bytes for port in compiled.build.outputs)
        answers = through_uart(elf, device, pictures, size)
    rows = compiled.build.row_input
    assert rows is not None
    return {
        "model": compiled.model.name,
        "board": device.name,
        "pictures": len(pictures),
        "picture_bytes": rows.rows * rows.row_bytes,
        "row_bytes": rows.row_bytes,
        "device_ram_bytes": device.ram.bytes,
        "arena_bytes": compiled.arena_bytes,
        "ram_bytes": sections.ram_bytes,
        "flash_bytes": sections.flash_bytes,
        "answers": answers,
    }


def through_uart(elf: Path, device: Board, pictures: np.ndarray[Any, Any], answer_bytes: int) -> list[bytes]:
    """What the firmware sends back for each picture that it is sent."""
    from tvm_pex.microtvm.tools import EMULATOR

    command = [EMULATOR, "-M", device.name, "-kernel", str(elf), "-display", "none", "-monitor", "none"]
    command += ["-serial", "stdio", "-semihosting-config", "enable=on,target=native"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as camera:
        assert camera.stdin and camera.stdout
        answers = []
        watch = threading.Timer(TIMEOUT, camera.kill)
        watch.start()
        try:
            for picture in pictures:
                camera.stdin.write(picture.tobytes())
                camera.stdin.flush()
                answers.append(camera.stdout.read(answer_bytes))
        finally:
            watch.cancel()
            camera.kill()
    return answers


def show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for label, key in (
        ("picture, bytes", "picture_bytes"),
        ("of it in memory at once: a row, bytes", "row_bytes"),
        ("arena, bytes", "arena_bytes"),
        ("RAM of the firmware, stack and row included, bytes", "ram_bytes"),
        ("RAM of the device, bytes", "device_ram_bytes"),
        ("flash, bytes", "flash_bytes"),
    ):
        click.echo(f"{label:52} {report[key]:>10,}")
    click.echo(
        f"{report['pictures']} pictures: {'the same outputs as stock TVM' if report['exact'] else 'OTHER outputs'}"
    )


if __name__ == "__main__":
    main()
