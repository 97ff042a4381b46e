"""``tvm-pex sweep``."""

from __future__ import annotations

import csv
import io
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import parse_bytes, write_text
from tvm_pex.cli.prune import FLIP, MOST_SEED, RATE, SHARE, errors, progress
from tvm_pex.codesign.choice import METHODS
from tvm_pex.codesign.importance import KINDS

if TYPE_CHECKING:
    from tvm_pex.codesign.sweep import Planned

_COLUMNS = "network", "method", "ram", "seed", "arena_bytes", "macs", "exact", "accuracy", "low", "high", "samples"


def _separate(_context: click.Context, _option: click.Parameter, text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.keras...")
@click.option("--train", "data", default="fashion-mnist", show_default=True, metavar="DATA", help="As tvm-pex prune's.")
@click.option("--ram", "budgets", required=True, metavar="BYTES,..", callback=_separate, help="As 8k,16k,32k.")
@click.option("--method", "methods", default="pex", show_default=True, callback=_separate, help=", ".join(METHODS))
@click.option("--seed", "seeds", default="0", show_default=True, metavar="N,..", callback=_separate)
@click.option("--importance", type=click.Choice(KINDS), default="taylor", show_default=True)
@click.option("--epochs", type=click.IntRange(min=0), default=1, show_default=True, help="Fine-tuning in a round.")
@click.option("--final-epochs", type=click.IntRange(min=0), default=5, show_default=True, help="And after the last.")
@click.option("--rate", type=float, callback=RATE, default=1e-3, show_default=True, help="Of learning.")
@click.option("--cut", type=float, callback=SHARE, default=0.15, show_default=True, help="Of memory, in a round.")
@click.option("--step", type=float, callback=SHARE, default=0.1, show_default=True, help="Of a group's channels.")
@click.option("--overwrite-input", is_flag=True, help="Let the plan reuse input bytes as soon as they have been read.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Train on N samples; all are tested.")
@click.option("--flip/--no-flip", default=True, show_default=True, help=FLIP)
@click.option("--cluster", metavar="tcp://..", help="A dask.distributed scheduler.  [default: processes here]")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes here.  [default: all processors]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR")
def sweep(
    models: tuple[Path, ...],
    data: str,
    budgets: list[str],
    methods: list[str],
    seeds: list[str],
    limit: int | None,
    flip: bool,
    cluster: str | None,
    jobs: int | None,
    output: Path,
    **settings: Any,
) -> None:
    """Prune each network for each budget, by each method, with each seed; what is done is never done again.

    Networks of several resolutions are several files. DIR has a folder for each trial, and sweep.csv, which is printed.
    With --cluster all its workers have to see DIR, the networks and the data under the same paths.

    \b
    Examples:
      tvm-pex sweep clothes.keras --ram 4k,8k,16k --method pex,magnitude,width --seed 0,1,2 -o out/clothes
      tvm-pex sweep f64.keras f96.keras --train flowers --ram 32k --cluster tcp://10.0.0.5:8786 -o /shared/flowers
    """
    for model in models:
        if not model.is_file():
            raise BadInput(f"{model}: no such file")
    if not budgets:
        raise BadInput("--ram: give numbers of bytes with commas between them, as 8k,16k")
    if not methods or not set(methods) <= set(METHODS):
        raise BadInput(f"--method {','.join(methods)}: give some of {','.join(METHODS)}")
    if not seeds or not all(seed.isdecimal() and int(seed) <= MOST_SEED for seed in seeds):
        raise BadInput(f"--seed {','.join(seeds)}: give whole numbers up to {MOST_SEED} with commas between them")
    with errors(), progress() as step:
        from tvm_pex.codesign.pruning import Settings
        from tvm_pex.codesign.sweep import check, planned, prune_alone, run_all

        chosen = [
            Settings(ram=parse_bytes(ram), method=method, seed=int(seed), **settings)
            for ram, method, seed in itertools.product(budgets, methods, seeds)
        ]
        output.mkdir(parents=True, exist_ok=True)
        trials = planned(models, data, limit, flip, chosen, output)
        check(trials)
        failed = run_all(trials, prune_alone, cluster, jobs, step)
    table = _table(trials)
    write_text(output / "sweep.csv", table)
    click.echo(table, nl=False)
    for trial, reason in failed.items():
        click.echo(f"tvm-pex: {trial}: {reason}", err=True)
    sys.exit(1 if failed else 0)


def _table(trials: list[Planned]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for planned in trials:
        if planned.done:
            settings, found = planned.trial.settings, planned.result().verdict
            own = [planned.trial.model.stem, settings.method, settings.ram, settings.seed]
            writer.writerow([*own, *(getattr(found, column) for column in _COLUMNS[4:])])
    return text.getvalue()
