"""The benchmark over the zoo's networks and given files: a report, RESULTS.md, and the tables that the README shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "zoo"))

import headline
import make
import table

from tvm_pex.cli.bench import USUAL_BOARDS, WAYS, measured, model_files
from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Step, progress
from tvm_pex.files import write_whole
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.microtvm.tools import MissingTools, check_tools

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TITLE = "Benchmark"
OWN = ROOT / "apps" / "fashion_mnist" / "fashion_mnist.tflite"
SCALING = "[SCALING.md](SCALING.md): planning time as networks grow."
ZOO_WAYS = ("layers", "stock", "tflm", "pex", "overwritten")  # of networks that are there for their number
# (network, width, resolution)
ZOO = (
    ("ds_cnn", None, None),
    ("tc_resnet", None, None),
    ("tcn", None, None),
    ("autoencoder", None, None),
    ("resnet8", None, None),
    ("mobilenet_v1", 0.25, 96),
    ("mobilenet_v2", 0.35, 96),
    ("mobilenet_v2", 0.35, 144),
    ("mcunet_like", 1.0, 80),
    ("efficientnet_like", 0.5, 64),
    ("split_concat", 1.0, 64),
    ("unet_like", 1.0, 64),
    ("ssd_like", 1.0, 64),
)


def zoo(cache: Path, step: Step) -> Iterator[Path]:
    """The files of ``ZOO``, made where they are missing. Raises ImportError without TensorFlow."""
    for name, width, resolution in ZOO:
        wanted = make.request(name, width, resolution)
        step(f"making {wanted.stem}", None, None)
        yield table.made(wanted, cache)


def introduction(files: Sequence[Path], quantized: Sequence[Path]) -> str:
    """How the figures came to be."""
    options = " ".join(f"--quantized-io {path.name}" for path in quantized)
    command = " ".join(["apps/benchmark/benchmark.py", *(["MODELS"] if files else []), options]).strip()
    return (
        f"Made by `{command}`; [README.md](README.md) says what that does. Networks of [apps/zoo](../zoo) "
        "have random weights: they say nothing about accuracy."
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL.tflite|FOLDER]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("out/benchmark"), show_default=True)
@click.option("--zoo/--no-zoo", "with_zoo", default=True, help="Measure the zoo's networks, too.  [default: they are]")
@click.option(
    "--quantized-io", "quantized", multiple=True, type=click.Path(path_type=Path), metavar="MODEL.tflite",
    help="A file to measure with quantised inputs and outputs besides; may be repeated.",
)  # fmt: skip
@click.option("--skip", multiple=True, metavar="NAME", help="Leave out files of this name, without .tflite.")
@click.option("--only", multiple=True, type=click.Choice(WAYS), help="A row; may be repeated.  [default: all]")
@click.option("--write", is_flag=True, help="Write RESULTS.md, results.csv and the README's tables, too.")
def main(
    models: tuple[Path, ...], output: Path, with_zoo: bool, quantized: tuple[Path, ...], skip: tuple[str, ...],
    only: tuple[str, ...], write: bool,
) -> None:  # fmt: skip
    """Measure the project's own network, the zoo's, and given files, and write a report: see tvm-pex bench --help.

    What was measured is kept in the report's folder, so that the command goes on where it was interrupted.

    \b
    Examples:
      benchmark.py
      benchmark.py --no-zoo models/ -o report
      benchmark.py models/ --quantized-io models/mcunet_vww1.tflite --write
    """
    files = [path for path in model_files(models) if path.stem not in skip]
    try:
        check_tools()
    except MissingTools as error:
        raise BadInput(str(error)) from None
    try:
        with progress() as step:
            made = list(zoo(Path("out/zoo"), step)) if with_zoo else []
            from tvm_pex.benchmark.measure import Settings

            boards = tuple(BOARDS[name] for name in USUAL_BOARDS)
            cases = [(path, False) for path in (OWN, *files)] + [(path, True) for path in quantized]
            subjects = measured(cases, Settings(only or WAYS, boards), output / "cache", step)
            fewer = Settings(tuple(way for way in only or WAYS if way in ZOO_WAYS), boards, front=False)
            subjects += measured([(path, False) for path in made], fewer, output / "cache", step)
    except ImportError as error:
        make.fail(f"{error}: pip install '.[tvm,test]'")
    from tvm_pex.report import benchmark as report
    from tvm_pex.report import benchmark_table as tables

    try:
        report.write_report(output, subjects, TITLE)
        if write:
            text = report.markdown(TITLE, subjects, f"{introduction(files, quantized)}\n\n{SCALING}")
            write_whole(HERE / "RESULTS.md", text.encode())
            write_whole(HERE / "results.csv", tables.spreadsheet(subjects).encode())
            headline.write(ROOT, subjects)
    except OSError as error:
        raise BadInput(f"{error.filename or output}: cannot be written: {error.strerror}") from None
    for subject in subjects:
        for warning in tables.warnings(subject):
            click.echo(f"{subject.model} {warning}", err=True)
    sys.exit(1 if any(subject.failed for subject in subjects) else 0)


if __name__ == "__main__":
    main()
