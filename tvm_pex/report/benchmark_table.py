"""The benchmark's columns, and its tables for terminals, Markdown and spreadsheets. All from the same values."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tvm_pex.benchmark.rows import OnBoard, Row, Subject

Cell = Callable[[Row], Any]
COUNTING = (
    "Arenas are bytes of RAM that inference touches but for its stack: model input, model output, all tensors, sums, "
    "scratch and padding. TFLite Micro's is the head of its arena; what it keeps beside that, on this machine with "
    "pointers twice as wide as a microcontroller's, is called persistent. Instructions are executed ones, on emulated "
    "boards; stack and flash are those on the first. Exact: every output byte is that of stock TVM's program. Equal to "
    "TFLite: the share of elements that are those of TFLite's reference kernels, up to our last operator. Seconds are "
    "those of the machine at hand."
)


@dataclass(frozen=True)
class Column:
    """``of`` gives a number, True or False, a text, or None; ``key`` is for spreadsheets. ``share``: as percent."""

    key: str
    heading: str
    of: Cell
    share: bool = False

    def text(self, row: Row) -> str:
        return shown(self.of(row), share=self.share)


def shown(value: Any, *, share: bool = False) -> str:
    """For people; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if share:
        return f"{100 * value:.3g} %"
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _on(board: str, name: str) -> Cell:
    return lambda row: getattr(row.boards.get(board, OnBoard()), name)


def boards_of(subjects: Sequence[Subject]) -> list[str]:
    """Those that anything ran on, in their order."""
    return list(dict.fromkeys(board for s in subjects for row in s.rows for board in row.boards))


def columns(boards: Sequence[str]) -> list[Column]:
    """Those of a model's table. Stack and flash are those on the first board."""
    first = boards[:1]
    return [
        Column("arena_bytes", "arena", lambda row: row.arena_bytes),
        Column("arena_without_io_bytes", "without input, output", lambda row: row.arena_without_io_bytes),
        Column("persistent_bytes", "persistent", lambda row: row.persistent_bytes),
        *(
            Column(f"{name}_bytes", heading, _on(board, f"{name}_bytes"))
            for board in first
            for name, heading in (("stack", "stack"), ("code", "flash: code"), ("weights", "flash: weights"))
        ),
        Column("executed_macs", "MACs", lambda row: row.executed_macs),
        *(Column(f"instructions_{board}", f"instructions, {board}", _on(board, "instructions")) for board in boards),
        Column("planning_seconds", "planning, s", lambda row: row.planning_seconds),
        Column("build_seconds", "build, s", lambda row: row.build_seconds),
        Column("exact", "exact", _exact),
        Column("tflite_share", "differs from TFLite", lambda row: row.tflite and row.tflite.share, share=True),
        Column("tflite_largest", "by at most", lambda row: row.tflite and row.tflite.largest),
    ]


def _exact(row: Row) -> Any:
    return "reference" if row.key == "stock" and row.exact else row.exact


def notes(row: Row) -> list[str]:
    """What the numbers of a row do not say."""
    told = [row.reason, row.configuration if row.key == "stock" else ""]
    told += [f"{board}: {ran.reason}" for board, ran in row.boards.items()]
    told += [f"floats within {row.tolerance:g} of the output's range"] if row.tolerance else []
    return [text for text in told if text and not text.endswith(": ")]


def used(subjects: Iterable[Subject], among: Sequence[Column]) -> list[Column]:
    """The columns in which anything stands."""
    rows = [row for subject in subjects for row in subject.rows]
    return [column for column in among if any(column.of(row) is not None for row in rows)]


def headline(subject: Subject) -> str:
    """One line about a model."""
    if subject.reason:
        return subject.reason
    operators = f"{subject.owned_operators} operators in regions, {subject.stock_operators} stock"
    sizes = f"input {shown(subject.input_bytes)} bytes, output {shown(subject.output_bytes)}"
    bound = f"no schedule needs less than {shown(subject.lower_bound_bytes)}"
    return f"{operators}; {sizes}, {shown(subject.macs)} multiply-accumulates; {bound}"


def warnings(subject: Subject) -> list[str]:
    """What must not be overlooked."""
    worse = [f"needs more memory than stock TVM: {row.label}" for row in subject.rows if row.key in subject.worse]
    return worse + [f"OUTPUTS DIFFER: {row.label}" for row in subject.rows if row.exact is False]


@dataclass(frozen=True)
class Summary:
    """A column of the table that has a row for each model; ``kind`` is "best", "bad" or ""."""

    heading: str
    text: Callable[[Subject], str]
    kind: Callable[[Subject], str] = lambda _: ""


def _arena(key: str) -> Callable[[Subject], int | None]:
    def of(subject: Subject) -> int | None:
        row = subject.row(key)
        return row.arena_bytes if row else None

    return of


def _arena_text(key: str) -> Callable[[Subject], str]:
    return lambda subject: shown(_arena(key)(subject))


def _ratio(subject: Subject) -> str:
    """How many times less than stock TVM's best plan."""
    stock, pex = _arena("stock")(subject), _arena("pex")(subject)
    return f"{stock / pex:.1f}x" if stock and pex else ""


def _instructions(key: str, board: str) -> Callable[[Subject], str]:
    def of(subject: Subject) -> str:
        row = subject.row(key)
        return shown(_on(board, "instructions")(row)) if row else ""

    return of


def _all_exact(subject: Subject) -> str:
    told = [row.exact for row in subject.rows if row.exact is not None]
    return shown(all(told)) if told else ""


def summary_columns(subjects: Sequence[Subject]) -> list[Summary]:
    """Arenas side by side, how much less than stock TVM, instructions on the first board, and whether all is exact."""
    arenas = [
        Summary(heading, _arena_text(key))
        for key, heading in (("layers", "layer by layer"), ("stock", "stock TVM"), ("tflm", "TFLite Micro"))
    ]
    ours = [
        Summary(heading, _arena_text(key), _marked(key))
        for key, heading in (("pex", "Pex"), ("overwritten", "input overwritten"), ("streamed", "input by rows"))
    ]
    bound = Summary("at least, input kept", lambda subject: shown(subject.lower_bound_bytes))
    speed = [
        Summary(f"instructions, {label}", _instructions(key, board))
        for board in boards_of(subjects)[:1]
        for key, label in (("stock", "stock TVM"), ("pex", "Pex"))
    ]
    agreement = [
        Summary("equal to TFLite", _agreement("owned")),
        Summary("with --rounding tflite", _agreement("owned_rounded")),
    ]
    told = [Summary("stock / Pex", _ratio), *arenas, *ours, bound, *speed, Summary("exact", _all_exact, _not_exact)]
    told += [*agreement, Summary("operators in regions", _coverage)]
    return [column for column in told if any(column.text(subject) for subject in subjects)]


def _coverage(subject: Subject) -> str:
    owned, stock = subject.owned_operators, subject.stock_operators
    return "" if owned is None or stock is None else f"{owned} of {owned + stock}"


def _agreement(name: str) -> Callable[[Subject], str]:
    return lambda subject: shown(subject.agreement and getattr(subject.agreement, name), share=True)


def _marked(key: str) -> Callable[[Subject], str]:
    return lambda subject: "bad" if key in subject.worse else "best"


def _not_exact(subject: Subject) -> str:
    return "bad" if _all_exact(subject) == "NO" else ""


def markdown_summary(subjects: Sequence[Subject]) -> str:
    """The table that has a row for each model."""
    chosen = summary_columns(subjects)
    lines = [f"| model | {' | '.join(column.heading for column in chosen)} |", f"|---|{'---:|' * len(chosen)}"]
    lines += [f"| {s.model} | {' | '.join(column.text(s) for column in chosen)} |" for s in subjects]
    return "\n".join(lines) + "\n"


def terminal_table(subject: Subject) -> Table:
    """A column for each way to run the model: there are more figures than a terminal is wide."""
    table = Table("", title=f"{subject.model}: {headline(subject)}", title_justify="left")
    for row in subject.rows:
        table.add_column(row.label, justify="right", overflow="fold")
    for column in used([subject], columns(boards_of([subject]))):
        table.add_row(column.heading, *(column.text(row) for row in subject.rows))
    return table


def markdown_table(subject: Subject) -> str:
    """The rows of a model, and below what its numbers do not say."""
    chosen = used([subject], columns(boards_of([subject])))
    lines = [f"| | {' | '.join(column.heading for column in chosen)} |", f"|---|{'---:|' * len(chosen)}"]
    lines += [f"| {row.label} | {' | '.join(column.text(row) for column in chosen)} |" for row in subject.rows]
    told = [f"- {row.label}: {note}" for row in subject.rows for note in notes(row)]
    return "\n".join([*lines, "", *told]).rstrip() + "\n"


def spreadsheet(subjects: Sequence[Subject]) -> str:
    """Comma-separated values: a line for each row of each model, plain numbers."""
    chosen = columns(boards_of(subjects))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "row", "label", *(column.key for column in chosen), "notes"])
    for subject in subjects:
        for row in subject.rows:
            values = ["" if value is None else value for value in (column.of(row) for column in chosen)]
            writer.writerow([subject.model, row.key, row.label, *values, "; ".join(notes(row))])
    return out.getvalue()
