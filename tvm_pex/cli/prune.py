"""``tvm-pex prune``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tvm_pex.cli.errors import BadInput, NothingFits
from tvm_pex.cli.planning import Step, between, byte_count, check_output, print_json
from tvm_pex.codesign.choice import METHODS, Unreachable
from tvm_pex.codesign.importance import KINDS

if TYPE_CHECKING:
    from tvm_pex.codesign.trial import Result

RATE, SHARE = between(1e-8, 10), between(0.01, 0.9)
MOST_SEED = 2**31 - 1  # Keras takes 32 bits; rounds count on from it
FLIP = "Of pictures in training half, left to right; never of sound."
_NEEDED = "TensorFlow prunes and trains: pip install 'tvm-pex[train]'"


def operation_count(_context: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """For click: a number of operations, as 5000000, 5000k or 5m; these are thousands and millions."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9.]+) ?([km]?)", text.strip().lower())
    try:
        count = int(float(match[1]) * {"": 1, "k": 1000, "m": 1000**2}[match[2]]) if match else 0
    except ValueError:
        count = 0
    if count <= 0:
        raise BadInput(f"{option.opts[0]} {text}: give a number, as 5000000 or 5m")
    return count


@contextmanager
def progress() -> Iterator[Step]:
    """A bar on standard error with the time that is left of what it shows, only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, before = bar.add_task("starting", total=None), "starting"

        def step(what: str, done: int | None, total: int | None) -> None:
            nonlocal before
            if what.split(":")[:2] != before.split(":")[:2]:
                bar.reset(task, total=total)
            before = what
            bar.update(task, description=what, completed=done or 0, total=total)

        yield step


@contextmanager
def errors() -> Iterator[None]:
    """What is wrong with the input becomes BadInput, a budget out of reach NothingFits."""
    try:
        from tvm_pex.codesign.architecture import NotPrunable
        from tvm_pex.codesign.data import DataError
        from tvm_pex.codesign.judge import JudgeError
        from tvm_pex.codesign.state import StateError

        yield
    except ModuleNotFoundError as error:
        raise BadInput(f"{error}: {_NEEDED}") from None
    except (NotPrunable, DataError, StateError) as error:
        raise BadInput(str(error)) from None
    except Unreachable as error:
        raise NothingFits(str(error)) from None
    except JudgeError as error:
        raise click.ClickException(str(error)) from None


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.keras")
@click.option("--train", "data", default="fashion-mnist", show_default=True, metavar="DATA", help="See below.")
@click.option("--ram", required=True, metavar="BYTES", callback=byte_count, help="The arena's budget, as 32k.")
@click.option("--flash", metavar="BYTES", callback=byte_count, help="The budget of weights, biases and scales.")
@click.option("--macs", metavar="COUNT", callback=operation_count, help="Of multiply-accumulates, as 5m.")
@click.option("--method", type=click.Choice(METHODS), default="pex", show_default=True, help="See below.")
@click.option(
    "--importance", type=click.Choice(KINDS), default="taylor", show_default=True, help="What a channel is judged by."
)
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True, help="Of everything random.")
@click.option("--epochs", type=click.IntRange(min=0), default=1, show_default=True, help="Fine-tuning in a round.")
@click.option("--final-epochs", type=click.IntRange(min=0), default=5, show_default=True, help="And after the last.")
@click.option("--rate", type=float, callback=RATE, default=1e-3, show_default=True, help="Of learning.")
@click.option("--cut", type=float, callback=SHARE, default=0.15, show_default=True, help="Of memory, in a round.")
@click.option("--step", type=float, callback=SHARE, default=0.1, show_default=True, help="Of a group's channels.")
@click.option("--overwrite-input", is_flag=True, help="Let the plan reuse input bytes as soon as they have been read.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Train on N samples; all are tested.")
@click.option("--flip/--no-flip", default=True, show_default=True, help=FLIP)
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR", help="Go on from here.  [default: OUT.prune]")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes that plan.  [default: all processors]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.tflite")
def prune(
    model: Path,
    data: str,
    limit: int | None,
    flip: bool,
    state: Path | None,
    jobs: int | None,
    as_json: bool,
    output: Path,
    **settings: Any,
) -> None:
    """Remove channels of a trained Keras network where its own plan has its peak, until it fits.

    DATA is fashion-mnist (the Debian package dataset-fashion-mnist), or a folder with a folder for each class: of
    pictures, or of recordings SPEAKER_ANYTHING.wav; or a folder with train and test, each such a folder. Recordings
    become log-mel spectrograms of the network's input shape. Without train and test a fifth is for testing: whole
    speakers, where there are any.

    The result is an int8 file; it is compiled for the budget, verified, and its C is run on the whole test split.
    An interrupted run goes on with the same command. The state folder has rounds.csv and rounds.svg. --method: pex
    lowers the planned arena; layers prunes against memory layer by layer, and runs so; magnitude removes what matters
    least, whatever it is good for; width thins all layers alike.

    \b
    Examples:
      tvm-pex prune net.keras --ram 16k -o small.tflite
      tvm-pex prune net.keras --train flowers --ram 64k --macs 20m --overwrite-input -o small.tflite
      tvm-pex prune net.keras --ram 16k --method magnitude --importance l1 -o blind.tflite
    """
    check_output(output, "-o")
    if not model.is_file():
        raise BadInput(f"{model}: no such file")
    with errors():
        from tvm_pex.codesign.pruning import Settings
        from tvm_pex.codesign.trial import Trial, run_trial

        trial = Trial(model, data, Settings(**settings), limit, flip)
        with progress() as step:
            result = run_trial(trial, state or output.with_suffix(".prune"), output, step, jobs)
    if as_json:
        print_json(asdict(result))
    else:
        _show(output, result)
    sys.exit(0 if result.verdict.exact else 1)


def _show(output: Path, result: Result) -> None:
    found = result.verdict
    table = Table(title=str(output), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rounds", f"{result.rounds}")
    table.add_row("layer by layer before, bytes", f"{result.layers_before:,}")
    table.add_row("arena before, bytes", f"{result.before:,}")
    table.add_row("arena, bytes", f"{found.arena_bytes:,}")
    table.add_row("multiply-accumulates", f"{found.macs:,}")
    table.add_row("exact", "yes" if found.exact else "NO")
    span = f"{100 * found.low:.2f} to {100 * found.high:.2f} %"
    table.add_row(f"accuracy of the int8 program on {found.samples:,}", f"{100 * found.accuracy:.2f} % ({span})")
    Console(markup=False, highlight=False).print(table)
