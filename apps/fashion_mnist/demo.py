"""The main job on real images: memory before and after, exactness against stock TVM, accuracy of the compiled C."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import numpy as np
from data import DIRECTORY, Bytes, load
from demo_output import Step, progress, show

if TYPE_CHECKING:
    from tvm_pex.frontend.tflite_model import Model
    from tvm_pex.lowering.aot import CBuild
    from tvm_pex.pools import Place
    from tvm_pex.verification.host_run import HostProgram, HostRun
    from tvm_pex.verification.stock_baseline import StockPlan

HERE = Path(__file__).parent
FLAGS = ("-std=gnu99", "-O3", "-ffp-contract=off", "-w")
BATCH = 250  # images in one process


def cannot_run(error: Exception) -> NoReturn:
    click.echo(f"demo: {' '.join(str(error).split())}", err=True)
    sys.exit(2)


@dataclass(frozen=True)
class Program:
    """A build, the arena that it runs in, and the memory that it takes together with the model's input and output.

    Ports without a place lie outside the arena.
    """

    name: str
    build: CBuild
    arena_bytes: int
    memory_bytes: int
    input_places: Mapping[str, Place]
    output_places: Mapping[str, Place]


@dataclass(frozen=True)
class Answers:
    """What a program said: a row of ``scores`` for each image."""

    scores: Any
    guard_intact: bool


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--images", type=click.IntRange(min=1), default=10_000, show_default=True, help="How many test images.")
@click.option("--data", type=click.Path(path_type=Path), default=DIRECTORY, show_default=True, help="The idx files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(images: int, data: Path, as_json: bool) -> None:
    """Compile the network for Fashion-MNIST, run the C on test images, compare every output byte with stock TVM.

    Exit status: 0 all outputs are the same and no guard byte was written; 1 not so; 2 the demo cannot run.

    \b
    Examples:
      demo.py
      demo.py --images 100
      demo.py --json | jq .pex.arena_bytes
    """
    try:
        pixels, labels = (part[:images] for part in load("test", data))
    except (OSError, EOFError, ValueError) as error:
        cannot_run(error)
    with progress() as step:
        report, predicted = measure(pixels, labels, step)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        show(report, pixels, labels, predicted)
    sys.exit(0 if report["exact"] and report["guard_intact"] else 1)


def measure(pixels: Bytes, labels: Bytes, step: Step) -> tuple[dict[str, Any], Bytes]:
    """The report, as ``--json`` prints it, and the class that the compiled program gives each image."""
    step("loading TVM", None, None)
    try:
        from tvm_pex import _tvm
    except ImportError as error:
        cannot_run(error)
    from tvm_pex.frontend.tflite_model import load_model
    from tvm_pex.verification.host_run import HostError, NoCompilerError

    _tvm.silence()
    model = load_model(HERE / "fashion_mnist.tflite")
    stock, programs = prepare(model, step)
    port = model.inputs[0]
    values = (pixels.astype(np.int16) + (port.zero_point or 0)).astype(port.dtype).reshape(-1, *port.shape)
    try:
        answers = run(programs, {port.name: values}, step)
    except NoCompilerError as error:
        cannot_run(error)
    except HostError as error:
        raise click.ClickException(str(error)) from None  # exit status 1: the C was run, and failed
    return summarise(model, stock, programs, answers, labels), answers[1].scores.argmax(axis=1)


def prepare(model: Model, step: Step) -> tuple[StockPlan, list[Program]]:
    """Stock TVM's best build, and ours with the input kept and overwritten."""
    from tvm_pex.compiler import compile_model
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.stock_baseline import best_stock

    stock = best_stock(model.mod, lambda done, of: step("building with stock TVM", done, of))
    ports = sum(port.bytes for port in (*stock.build.inputs, *stock.build.outputs))
    programs = [Program("stock", stock.build, stock.workspace_bytes, stock.workspace_bytes + ports, {}, {})]
    for name, overwrite in (("pex", False), ("pex_overwritten", True)):
        step("compiling", None, None)
        made = compile_model(model, PlanOptions(overwrite_input=overwrite))
        arena = made.arena_bytes
        programs.append(Program(name, made.build, arena, arena, made.input_places, made.output_places))
    return stock, programs


def run(programs: list[Program], inputs: Mapping[str, Any], step: Step) -> list[Answers]:
    """Each program on all inputs, in batches, on all processors."""
    from tvm_pex.verification.host_run import compile_host, run_host

    def batch(program: Program, executable: HostProgram, first: int) -> HostRun:
        part = {name: values[first : first + BATCH] for name, values in inputs.items()}
        return run_host(
            executable,
            part,
            pools={"arena": program.arena_bytes},
            input_places=program.input_places,
            output_places=program.output_places,
        )

    starts = range(0, len(next(iter(inputs.values()))), BATCH)
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        step("compiling the C", None, None)
        made = list(pool.map(lambda p: compile_host(p.build, Path(folder) / p.name, flags=FLAGS), programs))
        jobs = [(program, executable, start) for program, executable in zip(programs, made) for start in starts]
        runs: list[HostRun] = []
        for done in pool.map(lambda job: batch(*job), jobs):
            runs.append(done)
            step("running on test images", len(runs), len(jobs))
    count = len(starts)
    return [joined(runs[first : first + count]) for first in range(0, len(runs), count)]


def joined(runs: list[HostRun]) -> Answers:
    scores = np.concatenate([next(iter(part.outputs.values())) for part in runs])
    return Answers(scores.reshape(len(scores), -1), all(part.guard_intact for part in runs))


def summarise(
    model: Model, stock: StockPlan, programs: list[Program], answers: list[Answers], labels: Bytes
) -> dict[str, Any]:
    rows = {
        program.name: {
            "arena_bytes": program.memory_bytes,
            "exact": said.scores.tobytes() == answers[0].scores.tobytes(),
            "guard_intact": said.guard_intact,
            "accuracy": float(np.mean(said.scores.argmax(axis=1) == labels)),
        }
        for program, said in zip(programs, answers)
    }
    del rows["stock"]["exact"]  # it is what the others are compared with
    told = json.loads((HERE / "accuracy.json").read_text())
    return {
        "model": model.name,
        "images": len(labels),
        "layer_by_layer_bytes": model.layer_by_layer_bytes,
        **rows,
        "stock_plan": {
            **{name: getattr(stock, name) for name in ("target", "alter_op_layout", "planner")},
            "tried": [asdict(attempt) for attempt in stock.tried],
        },
        "tflite": {"accuracy": told["int8_accuracy"], "images": told["test_images"]},
        "exact": all(row.get("exact", True) for row in rows.values()),
        "guard_intact": all(row["guard_intact"] for row in rows.values()),
    }


if __name__ == "__main__":
    main()
