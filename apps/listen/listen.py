"""Continuous recognition: a network over a minute of sound, exact, and the instructions that a hop takes."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from tvm_pex.continuous import ContinuousModel
    from tvm_pex.frontend.tflite_model import Model

PROGRAM = Path(__file__).with_name("listen.c")
BOARD, CORE = "mps2-an386", "cortex-m4"
STACK = 2048
HOPS = 12  # measured on the board


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--hop", type=click.IntRange(min=1), default=10, show_default=True, help="Frames, of 10 ms each.")
@click.option("--seconds", type=click.IntRange(min=2), default=60, show_default=True, help="How much of the sound.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.argument("sound", type=click.Path(path_type=Path, exists=True), metavar="SOUND.wav|.npz")
def main(sound: Path, hop: int, seconds: int, as_json: bool) -> None:
    """Run a network with every HOP frames of SOUND on the window that ends there, and compare with each window alone.

    A .npz has 16-bit samples as ``audio``, and ``sample_rate``. Exit status: 0 all outputs are the same; 1 not so; 2 it
    cannot run.

    \b
    Examples:
      listen.py speech.wav
      listen.py --hop 20 --seconds 30 digits.npz
    """
    from listener import network
    from spectrogram import read, spectrogram

    from tvm_pex import _tvm
    from tvm_pex.continuous import compile_continuous
    from tvm_pex.frontend.windows import NothingMovesOn
    from tvm_pex.microtvm.tools import MissingTools, check_tools
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.continuous import verify_continuous

    _tvm.silence()
    try:
        check_tools()
        samples, rate = read(sound)
        rows = spectrogram(samples[: seconds * rate], rate)
        model = network()
        compiled = compile_continuous(model, hop, PlanOptions(core=CORE))
    except (MissingTools, NothingMovesOn, OSError, ValueError, KeyError) as error:
        click.echo(f"listen: {sound}: {error}", err=True)
        sys.exit(2)
    if len(rows) < compiled.split.rows + HOPS * hop:
        click.echo(f"listen: {sound}: {len(rows)} frames are too few", err=True)
        sys.exit(2)
    checked = verify_continuous(compiled, rows)
    report = {
        "frames": checked.rows,
        "windows": checked.windows,
        "exact": checked.exact,
        "window_frames": compiled.split.rows,
        "hop_frames": hop,
        "once_for_each_frame": list(compiled.split.moving),
        "once_for_each_window": list(compiled.split.fixed),
        "reason": compiled.split.reason,
        "memory_bytes": compiled.memory_bytes,
        **measured(model, compiled, rows),
    }
    show(report, as_json)
    sys.exit(0 if report["exact"] else 1)


def measured(model: Model, compiled: ContinuousModel, rows: np.ndarray[Any, Any]) -> dict[str, int]:
    """Instructions executed on the board: of a hop, and of a window alone, handed in by rows."""
    from tvm_pex.compiler import compile_model
    from tvm_pex.lowering.aot import CPort
    from tvm_pex.microtvm.bare_metal.build import compile_network, in_one_arena, link
    from tvm_pex.microtvm.boards import BOARDS
    from tvm_pex.microtvm.emulation import Firmware, emulate
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.firmware import Task, run_firmware
    from tvm_pex.verification.verify import reference_outputs

    board, split = BOARDS[BOARD], compiled.split
    part = rows[: split.rows + HOPS * split.hop]
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        objects = compile_network(in_one_arena(compiled.build, {}, {}, {}), board, Path(folder))
        elf = link(objects, "listen.elf", stack_bytes=STACK, count_instructions=True, program=PROGRAM)
        first = compiled.first_result
        results = (len(part) - first) // split.hop + 1
        made = CPort("results", "results", (results, sum(p.bytes for p in compiled.build.outputs)), "int8")
        port = CPort("rows", "rows", part.shape, str(part.dtype))
        firmware = Firmware(elf, board, (port,), (made,), STACK, True, len(part))
        ran = emulate(firmware, {"rows": part[None]}, timeout=600)
    hops = ran.steps[0][first : first + (results - 1) * split.hop]
    alone = compile_model(model, PlanOptions(core=CORE, stream_input=True))
    network = in_one_arena(alone.build, alone.pool_bytes, alone.input_places, alone.output_places)
    window = {model.inputs[0].name: part[None, : split.rows].reshape(1, *model.inputs[0].shape)}
    task = Task(board, board, window, reference_outputs(model, window))
    whole = run_firmware(network, task)
    return {
        "hop_instructions": sum(hops) // (results - 1),
        "window_instructions": whole.instructions,
        "window_arena_bytes": alone.arena_bytes,
    }


def show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for label, key in (
        ("frames", "frames"),
        ("windows compared with stock TVM", "windows"),
        ("frames of a window", "window_frames"),
        ("frames of a hop", "hop_frames"),
        ("memory, bytes", "memory_bytes"),
        ("arena of a window alone, handed in by rows, bytes", "window_arena_bytes"),
        ("instructions of a hop", "hop_instructions"),
        ("instructions of a window alone", "window_instructions"),
    ):
        click.echo(f"{label:52} {report[key]:>12,}")
    click.echo(f"once for each frame:  {' '.join(report['once_for_each_frame'])}")
    click.echo(f"once for each window: {' '.join(report['once_for_each_window'])} ({report['reason']})")
    click.echo("the same outputs as each window alone" if report["exact"] else "OTHER outputs")


if __name__ == "__main__":
    main()
