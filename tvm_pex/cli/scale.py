"""``tvm-pex scale``."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from tvm_pex.cli.errors import BadInput, NothingFits
from tvm_pex.cli.planning import Step, byte_count, print_json
from tvm_pex.cli.prune import FLIP, MOST_SEED, RATE, errors, progress

if TYPE_CHECKING:
    from tvm_pex.codesign.judge import Verdict
    from tvm_pex.codesign.scaling import Maker, Version


_LAYERS = "layer by layer"
_MOST_WIDTH, _MOST_RESOLUTION = 16, 4096


def _widths(_context: click.Context, option: click.Parameter, text: str) -> list[float]:
    try:
        widths = [float(part) for part in text.split(",")]
    except ValueError:
        widths = []
    if not widths or not all(0 < width <= _MOST_WIDTH for width in widths):
        raise BadInput(f"{option.opts[0]} {text}: give numbers up to {_MOST_WIDTH} with commas between them, as 0.5,1")
    return widths


def _resolutions(_context: click.Context, option: click.Parameter, text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= _MOST_RESOLUTION for part in parts):
        raise BadInput(f"{option.opts[0]} {text}: give whole numbers up to {_MOST_RESOLUTION} with commas between them")
    return [int(part) for part in parts]


@click.command()
@click.argument("functions", nargs=-1, required=True, metavar="FILE.py:FUNCTION...")
@click.option("--ram", required=True, metavar="BYTES", callback=byte_count, help="The arena's budget, as 64k.")
@click.option("--widths", default="0.25,0.5,0.75,1", show_default=True, callback=_widths)
@click.option("--resolutions", default="32,48,64,80,96,112,128,144,160", show_default=True, callback=_resolutions)
@click.option("--overwrite-input", is_flag=True, help="Let the plan reuse input bytes as soon as they have been read.")
@click.option("--train", "data", metavar="DATA", help="Train both on it, as tvm-pex prune's; report their accuracy.")
@click.option("--epochs", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--rate", type=float, callback=RATE, default=3e-3, show_default=True, help="Of learning.")
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Train on N samples; all are tested.")
@click.option("--flip/--no-flip", default=True, show_default=True, help=FLIP)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def scale(
    functions: tuple[str, ...],
    ram: int,
    widths: list[float],
    resolutions: list[int],
    overwrite_input: bool,
    as_json: bool,
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
    rows = []
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
            found = versions(make, widths, resolutions, overwrite_input, step)
            for runs, planned in ((_LAYERS, False), ("tvm_pex", True)):
                best = largest(found, ram, planned)
                if best is None and planned:
                    raise NothingFits(f"{function}: no version fits {ram} bytes")
                verdict = None
                if best is not None and training["data"] is not None:
                    verdict = _verdict(make, best, ram, planned, overwrite_input, step, **training)
                rows.append(_Row(function.rpartition(":")[2], runs, best, verdict))
    if as_json:
        print_json({"ram": ram, "rows": [asdict(row) for row in rows]})
    else:
        _show(ram, rows)
    sys.exit(0 if all(row.verdict is None or row.verdict.exact for row in rows) else 1)


@dataclass(frozen=True)
class _Row:
    """The largest ``version`` that fits, None where none does; ``verdict`` is its program's, where it was trained."""

    network: str
    runs: str
    version: Version | None
    verdict: Verdict | None


def _show(ram: int, rows: list[_Row]) -> None:
    table = Table(title=f"{ram:,} bytes", title_justify="left")
    for heading in ("network", "runs", "resolution", "width", "arena, bytes", "multiply-accumulates", "accuracy"):
        table.add_column(heading, justify="left" if heading in ("network", "runs") else "right")
    for row in rows:
        table.add_row(row.network, row.runs, *_described(row))
    Console(markup=False, highlight=False, width=120).print(table)


def _described(row: _Row) -> tuple[str, ...]:
    best, found = row.version, row.verdict
    if best is None:
        return "none", "", "", "", ""
    memory = best.layers if row.runs == _LAYERS else best.arena
    told = "" if found is None else f"{100 * found.accuracy:.2f} % ({100 * found.low:.2f} to {100 * found.high:.2f})"
    exact = "" if found is None or found.exact else " NOT EXACT"
    return f"{best.resolution}", f"{best.width:g}", f"{memory:,}", f"{best.macs:,}", told + exact


def _verdict(
    make: Maker,
    best: Version,
    ram: int,
    planned: bool,
    overwrite_input: bool,
    step: Step,
    *,
    data: str,
    epochs: int,
    rate: float,
    seed: int,
    limit: int | None,
    flip: bool,
) -> Verdict:
    from tvm_pex.codesign.conversion import to_tflite
    from tvm_pex.codesign.data import load
    from tvm_pex.codesign.judge import judge
    from tvm_pex.codesign.training import tensorflow, train
    from tvm_pex.codesign.trial import CALIBRATION
    from tvm_pex.scheduling.search import ALL_AXES

    tensorflow().keras.utils.set_random_seed(seed)
    model = make(width=best.width, resolution=best.resolution)
    step("reading the data", None, None)
    given = load(data, tuple(model.input_shape[1:]), limit, flip)
    train(model, given, epochs, rate, seed, lambda done, total: step(f"training at {best.resolution}", done, total))
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        file = Path(folder) / "scaled.tflite"
        file.write_bytes(to_tflite(model, given.train.inputs[:CALIBRATION]))
        step("compiling, verifying, running on the test split", None, None)
        return judge(file, given.test, ram, ALL_AXES if planned else (), overwrite_input and planned)
