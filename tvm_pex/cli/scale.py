"""``tvm-pex scale``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from tvm_pex.cli.errors import BadInput, NothingFits
from tvm_pex.cli.planning import Step, byte_count
from tvm_pex.cli.prune import errors, progress

if TYPE_CHECKING:
    from tvm_pex.codesign.judge import Verdict
    from tvm_pex.codesign.scaling import Maker, Version


def _numbers(_context: click.Context, option: click.Parameter, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"{option.opts[0]} {text}: give numbers with commas between them") from None


@click.command()
@click.argument("functions", nargs=-1, required=True, metavar="FILE.py:FUNCTION...")
@click.option("--ram", required=True, metavar="BYTES", callback=byte_count, help="The arena's budget, as 64k.")
@click.option("--widths", default="0.25,0.5,0.75,1", show_default=True, callback=_numbers)
@click.option("--resolutions", default="32,48,64,80,96,112,128,144,160", show_default=True, callback=_numbers)
@click.option("--overwrite-input", is_flag=True, help="Let the plan reuse input bytes as soon as they have been read.")
@click.option("--train", "data", metavar="DATA", help="Train both on it, as tvm-pex prune's; report their accuracy.")
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--rate", type=float, default=3e-3, show_default=True, help="Of learning.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Train on N samples; all are tested.")
def scale(
    functions: tuple[str, ...],
    ram: int,
    widths: list[float],
    resolutions: list[float],
    overwrite_input: bool,
    **training: Any,
) -> None:
    """Find the highest resolution, and at it the width, whose plan fits, beside what fits layer by layer.

    FUNCTION takes width and resolution and gives a Keras model. --train trains both from the start, quantises them, and
    runs their C on the whole test split.

    \b
    Examples:
      tvm-pex scale --ram 64k apps/codesign/networks.py:flowers
      tvm-pex scale --ram 64k --widths 0.5 --train flowers apps/codesign/networks.py:flowers
    """
    table = Table(title=f"{ram:,} bytes", title_justify="left")
    for heading in ("network", "runs", "resolution", "width", "arena, bytes", "multiply-accumulates", "accuracy"):
        table.add_column(heading, justify="left" if heading in ("network", "runs") else "right")
    with errors(), progress() as step:
        step("loading TensorFlow", None, None)
        from tvm_pex.codesign.scaling import FunctionError, largest, maker, versions
        from tvm_pex.codesign.training import tensorflow

        tensorflow()
        for function in functions:
            try:
                make = maker(function)
            except FunctionError as error:
                raise BadInput(str(error)) from None
            found = versions(make, widths, [round(size) for size in resolutions], overwrite_input, step)
            for runs, planned in (("layer by layer", False), ("tvm_pex", True)):
                best = largest(found, ram, planned)
                if best is None and planned:
                    raise NothingFits(f"{function}: no version fits {ram} bytes")
                told = "" if best is None else _accuracy(make, best, ram, planned, overwrite_input, step, **training)
                table.add_row(function.rpartition(":")[2], runs, *_described(best, planned), told)
    Console(markup=False, highlight=False, width=120).print(table)


def _described(best: Version | None, planned: bool) -> tuple[str, ...]:
    if best is None:
        return "none", "", "", ""
    return f"{best.resolution}", f"{best.width:g}", f"{best.arena if planned else best.layers:,}", f"{best.macs:,}"


def _accuracy(
    make: Maker,
    best: Version,
    ram: int,
    planned: bool,
    overwrite_input: bool,
    step: Step,
    *,
    data: str | None,
    epochs: int,
    rate: float,
    seed: int,
    limit: int | None,
) -> str:
    if data is None:
        return ""
    from tvm_pex.codesign.conversion import to_tflite
    from tvm_pex.codesign.data import load
    from tvm_pex.codesign.judge import judge
    from tvm_pex.codesign.training import tensorflow, train
    from tvm_pex.codesign.trial import CALIBRATION
    from tvm_pex.scheduling.search import ALL_AXES

    tensorflow().keras.utils.set_random_seed(seed)
    model = make(width=best.width, resolution=best.resolution)
    step("reading the data", None, None)
    given = load(data, tuple(model.input_shape[1:]), limit)
    train(model, given, epochs, rate, seed, lambda done, total: step(f"training at {best.resolution}", done, total))
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        file = Path(folder) / "scaled.tflite"
        file.write_bytes(to_tflite(model, given.train.inputs[:CALIBRATION]))
        step("compiling, verifying, running on the test split", None, None)
        verdict: Verdict = judge(file, given.test, ram, ALL_AXES if planned else (), overwrite_input and planned)
    exact = "" if verdict.exact else " NOT EXACT"
    return f"{100 * verdict.accuracy:.2f} % ({100 * verdict.low:.2f} to {100 * verdict.high:.2f}){exact}"
