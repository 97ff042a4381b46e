"""The command ``tvm-pex``: plan, compile, verify.

Exit status: 0 done; 1 ``verify`` found a difference; 2 bad input; 3 nothing fits the budget of ``--ram``. For 2 and 3
one line on standard error says what is wrong.
TVM is imported when a command needs it, so that ``--help`` and ``--version`` do not.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tvm_pex import __version__
from tvm_pex.report import tables

if TYPE_CHECKING:
    from tvm_pex.compiler import CompiledModel
    from tvm_pex.frontend.tflite_model import Model

_CHOICES = ("rows", "pixels", "channels"), ("rows", "pixels"), ("rows", "channels"), ("rows",), ("channels",)
AXES = {",".join(axes): axes for axes in _CHOICES}

Command = TypeVar("Command", bound=Callable[..., Any])


class BadInput(click.ClickException):
    """Ends the command with one line on standard error and exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"tvm-pex: {' '.join(self.message.split())}", file=file, err=True)


class NothingFits(BadInput):
    """Ends the command with one line on standard error and exit status 3."""

    exit_code = 3


_UNITS = {"": 1, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2}


def parse_bytes(text: str) -> int:
    """A number of bytes: 65536, 64k, 64KiB, 1m, 1MiB; raises BadInput for anything else, and for none."""
    match = re.fullmatch(r"([0-9]+) ?([a-z]*)", text.strip().lower())
    count = int(match[1]) * _UNITS.get(match[2], 0) if match else 0
    if count <= 0:
        raise BadInput(f"--ram {text}: give a number of bytes, as 65536, 64k, 256KiB or 1m")
    return count


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tvm-pex", message="%(prog)s %(version)s")
def main() -> None:
    """Run neural networks slice by slice, in a fraction of the memory, with the same bits."""


def _options(command: Command) -> Command:
    """What all commands share: the model, how to schedule it, and the form of the output."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables."),
        click.option(
            "--axes",
            type=click.Choice(list(AXES)),
            default=next(iter(AXES)),
            metavar="AXES",
            help=f"What the loops may slice; one of: {'; '.join(AXES)}.  [default: {next(iter(AXES))}]",
        ),
        click.option(
            "--overwrite-input", is_flag=True, help="Let the plan reuse input bytes as soon as they have been read."
        ),
        click.option(
            "--quantized-io",
            is_flag=True,
            help="Leave the quantisation of float inputs and outputs to the caller; the header has scales.",
        ),
        click.option(
            "--ram",
            metavar="BYTES",
            callback=lambda _context, _option, text: None if text is None else parse_bytes(text),
            help="Take the fastest schedule whose arena fits, as 65536, 64k or 256KiB, not the one of least memory.",
        ),
        click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.tflite"),
    ):
        command = decorate(command)
    return command


@main.command()
@_options
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    help="Draw the arena over time, layer by layer and as planned.",
)
@click.option("--pareto", is_flag=True, help="Show what less memory costs in instructions (also in the plot).")
def plan(
    model: Path,
    axes: str,
    overwrite_input: bool,
    quantized_io: bool,
    ram: int | None,
    as_json: bool,
    plot: Path | None,
    pareto: bool,
) -> None:
    """Show what runs together, the peak of each segment, and the arena.

    \b
    Examples:
      tvm-pex plan model.tflite
      tvm-pex plan --overwrite-input model.tflite
      tvm-pex plan --ram 64k model.tflite
      tvm-pex plan --plot arena.svg model.tflite
      tvm-pex plan --pareto --json model.tflite | jq .pareto
      tvm-pex plan --json model.tflite | jq .arena_bytes
    """
    if plot:
        _check_output(plot, "--plot")
    with _progress() as step:
        loaded, compiled = _compile(model, axes, overwrite_input, quantized_io, ram, step)
        if pareto:
            from tvm_pex.compiler import PlanOptions, memory_front

            options = PlanOptions(AXES[axes], overwrite_input)  # what was loaded has its ports as asked for
            front = memory_front(loaded, options, lambda done, total: step("falling budgets", done, total))
            compiled.report["pareto"] = [dataclasses.asdict(point) for point in front]
    if plot:
        _write(plot, _drawing(compiled))
    if as_json:
        _print_json(compiled.report)
        return
    from tvm_pex.report.arena_map import arena_map

    tables.show_plan(compiled.report, arena_map(compiled.memory.problem, compiled.memory.plan))


@main.command("compile")
@_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.tar", help="The file to write."
)
def compile_(
    model: Path, axes: str, overwrite_input: bool, quantized_io: bool, ram: int | None, as_json: bool, output: Path
) -> None:
    """Write C sources, headers and metadata into a .tar file.

    \b
    Examples:
      tvm-pex compile model.tflite -o model.tar
      tvm-pex compile --overwrite-input model.tflite -o model.tar
      tar -xf model.tar && cc -c -Iruntime/include -Icodegen/host/include codegen/host/src/*.c
    """
    _check_output(output, "-o")
    with _progress() as step:
        loaded, compiled = _compile(model, axes, overwrite_input, quantized_io, ram, step)
    from tvm_pex.microtvm.archive import metadata, write_archive

    try:
        write_archive(loaded, compiled, output)
    except OSError as error:
        raise BadInput(f"{output}: cannot be written: {error.strerror}") from None
    if as_json:
        _print_json({"output": str(output), **metadata(loaded, compiled)})
    else:
        tables.show_archive(output, compiled.report, compiled.build)


@main.command()
@_options
@click.option("--inputs", type=click.IntRange(min=1), default=20, show_default=True, help="Number of inputs to run.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random inputs.")
@click.option("--sanitize", is_flag=True, help="Compile with -fsanitize=address,undefined.")
def verify(
    model: Path,
    axes: str,
    overwrite_input: bool,
    quantized_io: bool,
    ram: int | None,
    as_json: bool,
    inputs: int,
    seed: int,
    sanitize: bool,
) -> None:
    """Run the compiled C on this machine and compare every output byte with stock TVM.

    The C runs in an arena of exactly the planned size between guard bytes, filled with noise before each run. Inputs
    are random, and all-minimum, all-maximum and all-zero-point. Exit status 0 only if all outputs are the same and no
    guard byte was written. Float outputs are the same within 1e-5 of their range, because float sums depend on their
    order; the report says so where it mattered.

    \b
    Examples:
      tvm-pex verify model.tflite
      tvm-pex verify model.tflite --inputs 100 --seed 7 --sanitize
      tvm-pex verify --json model.tflite | jq .exact
    """
    with _progress() as step:
        loaded, compiled = _compile(model, axes, overwrite_input, quantized_io, ram, step)
        from tvm_pex.verification import verify as verification
        from tvm_pex.verification.host_run import HostError, NoCompilerError

        step("running both networks", None, None)
        try:
            result = verification.verify(loaded, compiled, inputs=inputs, seed=seed, sanitize=sanitize)
        except NoCompilerError as error:
            raise BadInput(str(error)) from None
        except HostError as error:
            raise click.ClickException(str(error)) from None  # exit status 1: the C was run, and failed
    if as_json:
        report = dataclasses.asdict(result)
        del report["guard_faults"]
        _print_json({"model": loaded.name, **report})
    else:
        tables.show_verification(loaded.name, result)
    sys.exit(0 if result.passed else 1)


Step = Callable[[str, "int | None", "int | None"], None]


@contextmanager
def _progress() -> Iterator[Step]:
    """A bar on standard error while long work runs, only on a terminal. ``step(what, done, total)`` moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda what, done, total: progress.update(task, description=what, completed=done or 0, total=total)


def _compile(
    path: Path, axes: str, overwrite_input: bool, quantized_io: bool, ram: int | None, step: Step
) -> tuple[Model, CompiledModel]:
    """Load and compile. What is wrong with the input becomes BadInput; all else is a bug and keeps its traceback."""
    step("loading TVM", None, None)
    try:
        from tvm_pex import _tvm
    except ImportError as error:
        raise BadInput(str(error)) from None
    from tvm_pex.compiler import PlanOptions, compile_model
    from tvm_pex.frontend.tflite_model import ModelError, load_model
    from tvm_pex.lowering.aot import AotError
    from tvm_pex.scheduling.search import OverBudget

    _tvm.silence()
    step(f"reading {path.name}", None, None)
    try:
        model = load_model(path)
        options = PlanOptions(AXES[axes], overwrite_input, quantized_io, ram)
        compiled = compile_model(model, options, lambda done, total: step("finding the schedule", done, total))
        return compiled.model, compiled
    except ModelError as error:
        raise BadInput(str(error)) from None
    except AotError as error:
        raise BadInput(f"{path}: {error}") from None
    except OverBudget as error:
        least, operators = error.least_bytes, " ".join(error.operators)
        message = f"{path}: needs at least {least} bytes of RAM, not {ram}; most while {operators} run"
        raise NothingFits(message) from None


def _drawing(compiled: CompiledModel) -> str:
    from tvm_pex.memory_planner import plan_memory
    from tvm_pex.report.arena_plot import Panel, arena_svg
    from tvm_pex.scheduling.layers import layer_problem

    before, name = layer_problem(compiled.graph), compiled.report["model"]
    panels = (
        Panel("Layer by layer", "steps: operators", before, plan_memory(before)),
        Panel("tvm_pex", "steps: moments of the loops", compiled.memory.problem, compiled.memory.plan),
    )
    front = [(point["arena_bytes"], point["instructions"]) for point in compiled.report.get("pareto", ())]
    return arena_svg(f"Arena of {name}", panels, front)


def _write(path: Path, text: str) -> None:
    from tvm_pex.files import write_whole

    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None


def _check_output(path: Path, option: str) -> None:
    """Say before the long work what would fail after it."""
    if path.is_dir():
        raise BadInput(f"{path}: is a directory; {option} takes the name of a file")
    if not path.parent.is_dir():
        raise BadInput(f"{path}: the folder {path.parent} does not exist")


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2))
