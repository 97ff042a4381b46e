"""A Markdown table of what ``tvm-pex plan`` and ``tvm-pex verify`` print for the zoo's networks, or for given files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from make import cached, fail, only_python_on_stderr, request

from tvm_pex.cli.planning import Step, progress

# (network, width, resolution)
ROWS = (
    ("mobilenet_v1", 0.25, 128),
    ("mobilenet_v2", 0.35, 144),
    ("mobilenet_v2", 1.0, 224),
    ("mcunet_like", 1.0, 80),
    ("mcunet_like", 1.0, 176),
    ("ds_cnn", None, None),
    ("resnet8", None, None),
    ("unet_like", 1.0, 64),
    ("split_concat", 1.0, 64),
    ("tcn", None, None),
    ("autoencoder", None, None),
)
HEADING = (
    "| network | layer by layer | tvm_pex | with `--overwrite-input` | no schedule needs less than | exact |",
    "|---|---:|---:|---:|---:|---|",
)


@dataclass(frozen=True)
class Row:
    """Arenas in bytes of one network. ``exact``: both compiled programs gave stock TVM's bytes in such an arena."""

    network: str
    layer_by_layer: int
    kept: int
    overwritten: int
    lower_bound: int
    exact: bool

    def __str__(self) -> str:
        sizes = (self.layer_by_layer, self.kept, self.overwritten, self.lower_bound)
        return f"| {self.network} | {' | '.join(f'{size:,}' for size in sizes)} | {'yes' if self.exact else 'NO'} |"


def answer(*arguments: str | Path) -> dict[str, Any]:
    """What a command prints with ``--json``. Ends the program with the command's own line if it could not be done."""
    command = [sys.executable, "-m", "tvm_pex", arguments[0], "--json", *arguments[1:]]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        fail(done.stderr.strip().splitlines()[-1])
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def measure(path: Path, network: str, inputs: int, step: Step) -> Row:
    plans, exact = [], True
    for options in ((), ("--overwrite-input",)):
        step(f"{network}: {' '.join(('plan', *options))}", None, None)
        plans.append(answer("plan", *options, path))
        step(f"{network}: {' '.join(('verify', *options))}", None, None)
        checked = answer("verify", "--inputs", str(inputs), *options, path)
        same_arena = checked["arena_bytes"] == plans[-1]["arena_bytes"]
        exact = exact and checked["exact"] and checked["guard_intact"] and same_arena
    kept, overwritten = plans
    return Row(
        network,
        kept["layer_by_layer_bytes"],
        kept["arena_bytes"],
        overwritten["arena_bytes"],
        kept["lower_bound_bytes"],
        exact,
    )


def zoo(cache: Path, step: Step) -> Iterable[tuple[str, Path]]:
    """The networks of ``ROWS`` as files in ``cache``."""
    for name, width, resolution in ROWS:
        wanted = request(name, width, resolution)
        size = f" {width:g}, {resolution}x{resolution}" if width is not None else ""
        yield f"{name}{size}", cached(wanted, cache, step)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL.tflite]...")
@click.option("--inputs", type=click.IntRange(min=1), default=3, show_default=True, help="Inputs to run for `exact`.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("out/zoo"),
    show_default=True,
    metavar="DIR",
    help="The zoo's files; what is missing is made, with TensorFlow.",
)
def main(models: tuple[Path, ...], inputs: int, cache: Path) -> None:
    """Print a Markdown table: arena bytes of each network, and whether the compiled C gives stock TVM's bytes.

    Exit status: 0 all are exact; 1 not so; 2 bad input.

    \b
    Examples:
      table.py
      table.py --cache ~/.cache/zoo --inputs 20
      table.py a.tflite b.tflite
    """
    rows: list[Row] = []
    try:
        with only_python_on_stderr(), progress() as step:
            named = [(path.stem, path) for path in models] or zoo(cache, step)
            rows.extend(measure(path, name, inputs, step) for name, path in named)
    except ImportError as error:
        fail(f"{error}: TensorFlow makes the networks: pip install '.[train]'")
    for line in (*HEADING, *rows):
        click.echo(line)
    sys.exit(0 if all(row.exact for row in rows) else 1)


if __name__ == "__main__":
    main()
