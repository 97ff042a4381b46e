"""Many trials on all processors or a cluster, by dask.distributed. A finished trial is a file, and is never repeated.

A trial belongs to one folder. Where its worker dies, the engine starts it anew on another, and it goes on from its last
whole round; what kills its workers again and again is given up, alone. On a cluster the folders have to be shared.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_pex.codesign.judge import Verdict
from tvm_pex.codesign.pruning import Settings
from tvm_pex.codesign.trial import Result, Trial, run_trial

Report = Callable[[str, "int | None", "int | None"], None]
_RESULT = "result.json"


@dataclass(frozen=True)
class Planned:
    """A trial, its name among the others, and its folder."""

    name: str
    trial: Trial
    folder: Path

    @property
    def done(self) -> bool:
        return (self.folder / _RESULT).exists()

    def result(self) -> Result:
        """Raises OSError if it is not done."""
        record = json.loads((self.folder / _RESULT).read_text())
        return Result(**{**record, "verdict": Verdict(**record["verdict"])})


def planned(
    models: Sequence[Path],
    data: str,
    limit: int | None,
    settings: Sequence[Settings],
    folder: Path,
) -> list[Planned]:
    """Every network with each of the settings. Paths become absolute: workers have folders of their own."""
    found = []
    for model, chosen in itertools.product(models, settings):
        name = f"{model.stem}_{chosen.method}_{chosen.ram}_seed{chosen.seed}"
        source = str(Path(data).resolve()) if Path(data).is_dir() else data
        found.append(Planned(name, Trial(model.resolve(), source, chosen, limit), folder.resolve() / name))
    return found


def run_all(
    trials: Sequence[Planned], work: Callable[[Planned], None], cluster: str | None, jobs: int | None, report: Report
) -> dict[str, str]:
    """By name, why trials failed. ``cluster`` is the address of a scheduler; None: ``jobs`` processes here."""
    from distributed import Client, as_completed

    waiting = [trial for trial in trials if not trial.done]
    failed: dict[str, str] = {}
    report("trials", len(trials) - len(waiting), len(trials))
    if not waiting:
        return failed
    with _cluster(jobs) if cluster is None else _address(cluster) as address, Client(address) as client:
        names = {client.submit(work, trial, key=trial.name, pure=False): trial.name for trial in waiting}
        for number, future in enumerate(as_completed(names), start=len(trials) - len(waiting) + 1):
            if future.status != "finished":
                failed[names[future]] = " ".join(str(future.exception()).split())
            report("trials", number, len(trials))
    return failed


@contextmanager
def _cluster(jobs: int | None) -> Iterator[Any]:
    """One process and one thread for each job; no page about it."""
    from distributed import LocalCluster

    count = jobs or os.cpu_count() or 1
    with LocalCluster(n_workers=count, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster:
        yield cluster


@contextmanager
def _address(cluster: str) -> Iterator[str]:
    yield cluster


def prune_alone(planned: Planned) -> None:
    """In a worker: the trial on one processor."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    planned.folder.mkdir(parents=True, exist_ok=True)
    run_trial(planned.trial, planned.folder, planned.folder / "pruned.tflite", _silently, jobs=1)


def _silently(_what: str, _done: int | None, _total: int | None) -> None: ...
