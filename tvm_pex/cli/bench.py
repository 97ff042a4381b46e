"""``tvm-pex bench``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Step, print_json, progress
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.microtvm.tools import MissingTools, check_tools

if TYPE_CHECKING:
    from tvm_pex.benchmark.measure import Settings
    from tvm_pex.benchmark.rows import Subject

USUAL_BOARDS = ("mps2-an386", "mps3-an547")
WAYS = (
    "layers", "stock", "tflm", "channels", "rows", "pex", "overwritten", "streamed", "ram_quarter", "ram_half",
)  # fmt: skip


def model_files(paths: Sequence[Path]) -> list[Path]:
    """The files, and those of the folders in the order of their names. Raises BadInput for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.tflite"))
            if not inside:
                raise BadInput(f"{path}: there is no .tflite file in this folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(f"{path}: no such file")
    return found


def measured(models: Sequence[tuple[Path, bool]], settings: Settings, cache: Path | None, step: Step) -> list[Subject]:
    """Each (path, quantized_io), from the cache where it has it. Raises BadInput where that cannot be written."""
    from tvm_pex import _tvm
    from tvm_pex.benchmark.measure import many
    from tvm_pex.benchmark.store import Store

    _tvm.silence()
    try:
        return list(many(models, settings, Store(cache), step))
    except OSError as error:
        raise BadInput(f"{error.filename}: cannot be written: {error.strerror}") from None


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.tflite|FOLDER...")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write a report into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option(
    "--cache", type=click.Path(path_type=Path), metavar="DIR",
    help="Keep what was measured here, and go on from there.  [default: cache in the report's folder]",
)  # fmt: skip
@click.option("--only", multiple=True, type=click.Choice(WAYS), help="A row; may be repeated.  [default: all]")
@click.option(
    "--board", "boards", multiple=True, type=click.Choice(list(BOARDS)), default=USUAL_BOARDS, show_default=True,
    help="What to emulate; may be repeated. All rows run on the first.",
)  # fmt: skip
@click.option("--no-emulator", is_flag=True, help="Without firmware: no stack, no flash, no instructions.")
@click.option("--no-front", is_flag=True, help="Without the front of memory and instructions.")
@click.option("--quantized-io", is_flag=True, help="Leave the quantisation of float inputs and outputs to the caller.")
@click.option("--inputs", type=click.IntRange(min=1), default=8, show_default=True, help="Number of inputs to run.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random inputs.")
def bench(
    models: tuple[Path, ...], output: Path | None, as_json: bool, cache: Path | None, only: tuple[str, ...],
    boards: tuple[str, ...], no_emulator: bool, no_front: bool, quantized_io: bool, inputs: int, seed: int,
) -> None:  # fmt: skip
    """Measure models in every way to run them, side by side: stock TVM, TFLite Micro, and tvm_pex in several forms.

    Arena bytes hold the model's input and output. Stock TVM is the best of all its targets, layouts and planners;
    TFLite Micro's arena is the part that holds tensors and scratch. Every output is compared with stock TVM's, and with
    TensorFlow Lite's reference kernels. What cannot be built is a row that says why.

    The report has index.html, which is all in one file, README.md, results.csv and results.json.

    Exit status: 0 all rows of ours are exact and none needs more memory than stock TVM; 1 not so; 2 bad input or a
    missing tool.

    \b
    Examples:
      tvm-pex bench model.tflite
      tvm-pex bench models/ -o report
      tvm-pex bench --only stock --only pex --no-emulator model.tflite
      tvm-pex bench --json model.tflite | jq '.models[].rows[] | {key, arena_bytes}'
    """
    files = model_files(models)
    try:
        if not no_emulator:
            check_tools()
    except MissingTools as error:
        raise BadInput(str(error)) from None
    with progress() as step:
        step("loading TVM", None, None)
        try:
            from tvm_pex.benchmark.measure import Settings
        except ImportError as error:
            raise BadInput(str(error)) from None
        settings = Settings(
            ways=only or WAYS,
            boards=() if no_emulator else tuple(BOARDS[name] for name in boards),
            inputs=inputs,
            seed=seed,
            front=not no_front,
        )
        kept = cache or (output / "cache" if output else None)
        subjects = measured([(path, quantized_io) for path in files], settings, kept, step)
    from tvm_pex.report.benchmark import as_json as report_json
    from tvm_pex.report.benchmark import show, write_report

    if output:
        try:
            write_report(output, subjects)
        except OSError as error:
            raise BadInput(f"{error.filename or output}: cannot be written: {error.strerror}") from None
    if as_json:
        print_json(report_json(subjects))
    else:
        show(subjects)
    sys.exit(1 if any(subject.failed for subject in subjects) else 0)
