"""What a run of pruning has done so far, in a folder: it goes on after an interrupt from its last whole round.

``settings.json`` is what was asked for, ``rounds.csv`` has a line for each round, ``NNN.keras`` is the network after
it, ``final.keras`` the one that was trained to the end. Files appear as a whole; ``rounds.csv`` says which count.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_pex.files import write_whole


class StateError(Exception):
    """The folder holds a run of other settings; one line."""


@dataclass(frozen=True)
class Round:
    """The network after a round; round 0 is the one that was given.

    ``accuracy`` is that of the float network on the validation part. ``channels`` and ``removed`` are by group, as
    ``conv2d=16``.
    """

    round: int
    arena_bytes: int
    layer_by_layer_bytes: int
    flash_bytes: int
    macs: int
    accuracy: float
    channels: str
    removed: str


@dataclass(frozen=True)
class State:
    """``folder`` exists."""

    folder: Path

    def claim(self, settings: dict[str, Any]) -> None:
        """Takes the folder for these settings; raises StateError if it holds a run of others."""
        path, text = self.folder / "settings.json", json.dumps(settings, indent=2, sort_keys=True) + "\n"
        if not path.exists():
            write_whole(path, text.encode())
        elif path.read_text() != text:
            before = json.loads(path.read_text())
            differing = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
            raise StateError(f"{self.folder} holds a run that differs in {', '.join(differing)}; give another folder")

    def rounds(self) -> list[Round]:
        path = self.folder / "rounds.csv"
        if not path.exists():
            return []
        kinds = {"round": int, "accuracy": float, "channels": str, "removed": str}
        with path.open(newline="") as file:
            return [Round(**{k: kinds.get(k, int)(v) for k, v in row.items()}) for row in csv.DictReader(file)]

    def write(self, rounds: Sequence[Round], model: Any) -> None:
        """The network first: without its line it does not count."""
        self.save(model, self.network(rounds))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Round)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(done) for done in rounds)
        write_whole(self.folder / "rounds.csv", text.getvalue().encode())

    def network(self, rounds: Sequence[Round]) -> Path:
        """The file of the network after the last of ``rounds``."""
        return self.folder / f"{rounds[-1].round:03}.keras"

    @property
    def final(self) -> Path:
        return self.folder / "final.keras"

    def save(self, model: Any, path: Path) -> None:
        """Keras wants to see the ending."""
        partial = path.with_name(f".{os.getpid()}.{path.name}")
        model.save(partial)
        os.replace(partial, path)
