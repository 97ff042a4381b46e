"""The benchmark's report: JSON, which holds everything, and what is drawn from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvm_pex import __version__
from tvm_pex.benchmark.rows import SCHEMA, Subject, subject_from_json, to_json
from tvm_pex.files import write_whole
from tvm_pex.report import benchmark_table as tables
from tvm_pex.report.benchmark_page import page
from tvm_pex.report.rivals import rivals
from tvm_pex.report.tables import console


def as_json(subjects: Sequence[Subject]) -> dict[str, Any]:
    """The keys of ``tvm-pex bench --json``; ``schema`` changes when one of them does."""
    return {"schema": SCHEMA, "tvm_pex": __version__, "models": [to_json(subject) for subject in subjects]}


def from_json(report: dict[str, Any]) -> list[Subject]:
    """Raises ValueError for a report of another schema."""
    if report.get("schema") != SCHEMA:
        raise ValueError(f"a report of schema {report.get('schema')}, not {SCHEMA}")
    return [subject_from_json(model) for model in report["models"]]


def show(subjects: Sequence[Subject]) -> None:
    """Tables for people, then what the numbers do not say."""
    out = console()
    for subject in subjects:
        if subject.reason:
            out.print(f"{subject.model}: {subject.reason}", soft_wrap=True)
            continue
        out.print(tables.terminal_table(subject))
        for row in subject.rows:
            for note in tables.notes(row):
                out.print(f"{row.label}: {note}", soft_wrap=True)
        for warning in tables.warnings(subject):
            out.print(f"{subject.model} {warning}", soft_wrap=True)


def markdown(title: str, subjects: Sequence[Subject], figures: str = "") -> str:
    """The table of all models, the rivals, ``figures`` as they are, and a section for each model."""
    parts = [f"# {title}", tables.COUNTING, tables.markdown_summary(subjects)]
    others = rivals(subjects)
    if others:
        lines = ["| rival | model | its bytes | Pex | input overwritten | how it counts | source |"]
        lines += ["|---|---|---:|---:|---:|---|---|"]
        for r in others:
            sizes = " | ".join(tables.shown(size) for size in (r.bytes, r.kept, r.overwritten))
            lines.append(f"| {r.rival} | {r.model} | {sizes} | {r.counts} | {r.source} |")
        parts += ["## Others", "What others publish, or what was measured of them. They do not all count the same."]
        parts.append("\n".join(lines))
    parts += [figures] if figures else []
    for subject in subjects:
        told = [f"**{warning}**" for warning in tables.warnings(subject)]
        table = [] if subject.reason else [tables.markdown_table(subject)]
        parts.append("\n\n".join([f"## {subject.model}", tables.headline(subject) + ".", *told, *table]))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def write_report(folder: Path, subjects: Sequence[Subject], title: str = "Benchmark") -> None:
    """All forms of the report, each file as a whole; the folder is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("results.json", json.dumps(as_json(subjects), indent=1) + "\n"),
        ("results.csv", tables.spreadsheet(subjects)),
        ("README.md", markdown(title, subjects)),
        ("index.html", page(title, subjects)),
    ):
        write_whole(folder / name, text.encode())
