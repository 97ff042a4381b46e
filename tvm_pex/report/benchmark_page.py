"""The benchmark as one HTML page that needs nothing else: tables, and pictures of memory over time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tvm_pex.benchmark.rows import Row, Subject
from tvm_pex.memory_planner import Buffer, Plan, Problem
from tvm_pex.report import benchmark_table as tables
from tvm_pex.report.arena_plot import Panel, inline_svgs
from tvm_pex.report.rivals import rivals

_TEMPLATE = "benchmark.html.jinja"


@dataclass(frozen=True)
class Figure:
    """Pictures as SVG with a heading and a line about them."""

    heading: str
    text: str
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class _Cell:
    text: str
    kind: str = ""


def page(title: str, subjects: Sequence[Subject], figures: Sequence[Figure] = ()) -> str:
    """The same text for the same values."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["figure"] = tables.shown
    return environment.get_template(_TEMPLATE).render(
        title=title,
        counting=tables.COUNTING,
        summary=_summary(subjects),
        rivals=rivals(subjects),
        figures=figures,
        models=[_model(subject) for subject in subjects],
    )


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _summary(subjects: Sequence[Subject]) -> dict[str, Any]:
    chosen = tables.summary_columns(subjects)
    rows = [
        {
            "model": subject.model,
            "anchor": _anchor(subject.model),
            "cells": [_Cell(column.text(subject), column.kind(subject)) for column in chosen],
        }
        for subject in subjects
    ]
    return {"headings": ["model", *(column.heading for column in chosen)], "rows": rows}


def _model(subject: Subject) -> dict[str, Any]:
    chosen = tables.used([subject], tables.columns(tables.boards_of([subject])))
    return {
        "name": subject.model,
        "anchor": _anchor(subject.model),
        "headline": tables.headline(subject),
        "warnings": tables.warnings(subject),
        "headings": [column.heading for column in chosen],
        "rows": [
            {"label": row.label, "cells": [_Cell(column.text(row), _kind(row, column)) for column in chosen]}
            for row in subject.rows
        ],
        "notes": [f"{row.label}: {note}" for row in subject.rows for note in tables.notes(row)],
        "pictures": inline_svgs(panels(subject), subject.front),
    }


def _kind(row: Row, column: tables.Column) -> str:
    return "bad" if column.of(row) is False else ""


def panels(subject: Subject) -> list[Panel]:
    """The arena over time, layer by layer and by slices, as far as both were planned."""
    found = []
    for key, heading in (("layers", "Layer by layer"), ("pex", "Pex")):
        row = subject.row(key)
        if row is not None and row.buffers:
            found.append(_panel(heading, row.buffers))
    return found


def _panel(heading: str, buffers: Sequence[Mapping[str, Any]]) -> Panel:
    placed = tuple(Buffer(b["name"], b["bytes"], b["first"], b["last"]) for b in buffers)
    offsets = {b["name"]: b["offset"] for b in buffers}
    peak = max((offsets[b.name] + b.bytes for b in placed), default=0)
    return Panel(heading, "steps: moments of the loops", Problem(placed), Plan(offsets, peak, False, 0))
