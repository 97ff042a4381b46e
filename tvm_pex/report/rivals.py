"""What others publish, or what was measured of them elsewhere: their figures beside ours, and how they count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvm_pex.benchmark.rows import Subject


@dataclass(frozen=True)
class Rival:
    """``kept`` and ``overwritten`` are our arenas of the same model where the report has it."""

    rival: str
    model: str
    bytes: int
    kept: int | None
    overwritten: int | None
    counts: str
    source: str


def rivals(subjects: Sequence[Subject]) -> list[Rival]:
    """Of the models that the report has; a figure of a width and resolution is that of the same from the zoo."""
    data = json.loads((Path(__file__).parent / "rivals.json").read_text())
    known = {subject.model: subject for subject in subjects}
    return [
        Rival(
            **figure,
            **data["rivals"][figure["rival"]],
            kept=_arena(known[figure["model"]], "pex"),
            overwritten=_arena(known[figure["model"]], "overwritten"),
        )
        for figure in data["figures"]
        if figure["model"] in known
    ]


def _arena(subject: Subject, key: str) -> int | None:
    row = subject.row(key)
    return row.arena_bytes if row else None
