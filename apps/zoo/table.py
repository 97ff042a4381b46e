"""A Markdown table of what ``tvm-pex plan`` and ``tvm-pex verify`` print for the zoo's networks, or for given files."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import make

from tvm_pex.cli.planning import Request, Step, compile_request, progress
from tvm_pex.options import PlanOptions

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


def checked(path: Path, options: PlanOptions, inputs: int, step: Step) -> tuple[dict[str, Any], bool]:
    """What ``tvm-pex plan --json`` prints, and whether ``tvm-pex verify`` passes. Errors are the commands' own."""
    model, compiled = compile_request(Request(path=path, options=options, as_json=True), step)
    from tvm_pex.verification import verify as verification
    from tvm_pex.verification.host_run import HostError, NoCompilerError

    step(f"{path.stem}: running both programs", None, None)
    try:
        return compiled.report, verification.verify(model, compiled, inputs=inputs).passed
    except NoCompilerError as error:
        make.fail(str(error))
    except HostError as error:
        raise click.ClickException(str(error)) from None  # exit status 1: the C was run, and failed


def measure(path: Path, network: str, inputs: int, step: Step) -> Row:
    plan, kept_passed = checked(path, PlanOptions(), inputs, step)
    overwritten, overwritten_passed = checked(path, PlanOptions(overwrite_input=True), inputs, step)
    return Row(
        network,
        plan["layer_by_layer_bytes"],
        plan["arena_bytes"],
        overwritten["arena_bytes"],
        plan["lower_bound_bytes"],
        kept_passed and overwritten_passed,
    )


def made(wanted: make.Request, cache: Path) -> Path:
    """As ``make.cached``, in a process of its own: TensorFlow and TVM in one process crash."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(make.cached, wanted, cache).result()


def zoo(cache: Path, step: Step) -> Iterable[tuple[str, Path]]:
    """The networks of ``ROWS`` as files in ``cache``."""
    for name, width, resolution in ROWS:
        wanted = make.request(name, width, resolution)
        step(f"making {wanted.stem}", None, None)
        size = f" {width:g}, {resolution}x{resolution}" if width is not None else ""
        yield f"{name}{size}", made(wanted, cache)


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
    exact = True
    try:
        with progress() as step:
            named = [(path.stem, path) for path in models] or zoo(cache, step)
            for number, (name, path) in enumerate(named):
                row = measure(path, name, inputs, step)
                click.echo("\n".join([*(() if number else HEADING), str(row)]))
                exact = exact and row.exact
    except ImportError as error:
        make.fail(f"{error}: TensorFlow makes the networks: pip install '.[train]'")
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
