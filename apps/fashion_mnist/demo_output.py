"""What the demo prints for people: its progress, images with their classes, one row for each program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from data import CLASSES, Bytes
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

SHADES = " .:-=+*#%@"
LABELS = {
    "stock": "stock TVM, best plan",
    "pex": "tvm_pex",
    "pex_overwritten": "tvm_pex, input overwritten",
}

Step = Callable[[str, "float | None", "float | None"], None]


@contextmanager
def progress() -> Iterator[Step]:
    """A bar on standard error, only on a terminal. ``step(what, done, total)`` moves it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done or 0, total=total)


def show(report: dict[str, Any], pixels: Bytes, labels: Bytes, predicted: Bytes) -> None:
    console = Console(markup=False, highlight=False)
    console = console if console.is_terminal else Console(markup=False, highlight=False, width=100)
    fitting = max(1, console.width // 30)
    console.print(gallery(pixels[: min(3, fitting)], labels, predicted))
    console.print(comparison(report))
    console.print("Each arena holds the model's input and output; exact: every output byte is stock TVM's.")
    plan = report["stock_plan"]
    console.print(f"Best of {len(plan['tried'])} plans of stock TVM: {configuration(plan)}.")
    for attempt in plan["tried"]:
        if attempt["workspace_bytes"] is None:
            console.print(f"Does not build: {configuration(attempt)}: {attempt['reason']}")


def configuration(plan: dict[str, Any]) -> str:
    layout = "on" if plan["alter_op_layout"] else "off"
    return f"{plan['planner']} for {plan['target']}, AlterOpLayout {layout}"


def comparison(report: dict[str, Any]) -> Table:
    before = report["layer_by_layer_bytes"]
    table = Table(f"{report['model']}, {report['images']:,} test images", title_justify="left")
    for heading in ("arena, bytes", "ratio", "exact", "guard intact", "accuracy"):
        table.add_column(heading, justify="right")
    table.add_row("layer by layer", f"{before:,}", percent(1.0, 1))
    for key, label in LABELS.items():
        row = report[key]
        exact = yes_no(row["exact"]) if "exact" in row else "reference"
        guard, ratio = yes_no(row["guard_intact"]), percent(row["arena_bytes"] / before, 1)
        table.add_row(label, f"{row['arena_bytes']:,}", ratio, exact, guard, percent(row["accuracy"]))
    told = report["tflite"]
    table.add_row(f"TensorFlow Lite, {told['images']:,} images", "", "", "", "", percent(told["accuracy"]))
    return table


def percent(value: float, digits: int = 2) -> str:
    return f"{100 * value:.{digits}f} %"


def yes_no(value: bool) -> str:
    return "yes" if value else "NO"


def gallery(pixels: Bytes, labels: Bytes, predicted: Bytes) -> Table:
    """Images side by side, each with its predicted class; a character stands for two pixels, one above the other."""
    grid = Table.grid(padding=(0, 2))
    rows = (pixels[:, ::2].astype(int) + pixels[:, 1::2]) * len(SHADES) // 511
    grid.add_row(*("\n".join("".join(SHADES[shade] for shade in line) for line in image) for image in rows))
    pairs = [(CLASSES[said], CLASSES[label]) for said, label in zip(predicted[: len(pixels)], labels)]
    grid.add_row(*(f"{said} (right)" if said == label else f"{said} (is: {label})" for said, label in pairs))
    return grid
