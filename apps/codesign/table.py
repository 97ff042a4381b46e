"""A table of what ``tvm-pex prune`` left in its folders, a row for each, and accuracy against arena as a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import check_output
from tvm_pex.files import write_whole
from tvm_pex.report.drawing import line_svg

HEADINGS = "pruned by", "rounds", "arena, bytes", "multiply-accumulates", "exact", "accuracy of the int8 program"


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was asked for in the folder, and what came out. Raises BadInput."""
    try:
        settings, result = (json.loads((folder / name).read_text()) for name in ("settings.json", "result.json"))
    except (OSError, ValueError):
        raise BadInput(f"{folder}: there is no trial that is done") from None
    return settings, result


def name_of(settings: dict[str, Any]) -> str:
    method, importance = settings["method"], settings["importance"]
    return method if method == "width" else f"{method}, {importance}"


def row(settings: dict[str, Any], result: dict[str, Any]) -> list[str]:
    found = result["verdict"]
    span = f"{100 * found['low']:.2f} to {100 * found['high']:.2f}"
    return [
        name_of(settings) if result["rounds"] else "not pruned",
        f"{result['rounds']}",
        f"{found['arena_bytes']:,}",
        f"{found['macs']:,}",
        "yes" if found["exact"] else "NO",
        f"{100 * found['accuracy']:.2f} % ({span})",
    ]


def curve(title: str, trials: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """As SVG, a line for each way of pruning."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for settings, result in trials:
        found = result["verdict"]
        lines.setdefault(name_of(settings), []).append((found["arena_bytes"], round(100 * found["accuracy"], 2)))
    return line_svg(title, "arena, bytes", "% of the test split", {name: sorted(lines[name]) for name in lines})


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="OUT.prune...")
@click.option("--svg", type=click.Path(path_type=Path), metavar="CURVE.svg", help="Draw accuracy against arena.")
@click.option("--title", default="Accuracy of the int8 programs", show_default=True, help="Of the picture.")
def main(folders: tuple[Path, ...], svg: Path | None, title: str) -> None:
    """Print a table of trials that are done, in Markdown."""
    trials = [read(folder) for folder in folders]
    if svg is not None:
        check_output(svg, "--svg")
        write_whole(svg, curve(title, trials).encode())
    for cells in (HEADINGS, ("---", "---:", "---:", "---:", "---", "---:"), *(row(*trial) for trial in trials)):
        click.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
