"""Many trials on all processors or a cluster, by dask.distributed. A finished trial is a file, and is never repeated.

A trial belongs to one folder. Where its worker dies, the engine starts it anew on another, and it goes on from its last
whole round; what kills its workers again and again is given up, alone. On a cluster the folders have to be shared.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_pex.codesign.judge import Verdict
from tvm_pex.codesign.pruning import Settings
from tvm_pex.codesign.state import State
from tvm_pex.codesign.trial import Result, Trial, run_trial

Report = Callable[[str, "int | None", "int | None"], None]
Work = Callable[["Planned"], None]
_RESULT = "result.json"
_PATIENCE = 1.0  # seconds


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


def check(trials: Sequence[Planned]) -> None:
    """Raises StateError where the folder of a trial, done or not, has one of other settings."""
    for trial in trials:
        if trial.folder.is_dir():
            State(trial.folder).claim(trial.trial.record())


def run_all(
    trials: Sequence[Planned], work: Work, cluster: str | None, jobs: int | None, report: Report
) -> dict[str, str]:
    """By name, why trials failed. ``cluster`` is the address of a scheduler; None: ``jobs`` processes here.

    There are no more trials on the way than workers: one that kills its worker takes none with it that only waits.
    """
    waiting = [trial for trial in trials if not trial.done]
    report("trials", len(trials) - len(waiting), len(trials))
    if not waiting:
        return {}
    from distributed import Client, wait
    from distributed import TimeoutError as Waited

    failed: dict[str, str] = {}
    running: dict[Any, Planned] = {}
    with _cluster(jobs) if cluster is None else _address(cluster) as address, Client(address) as client:
        while waiting or running:
            free = max(len(client.nthreads()) - len(running), 0)
            running |= {client.submit(_unless_done, work, t, key=str(t.folder)): t for t in waiting[:free]}
            waiting = waiting[free:]
            with suppress(Waited):  # workers may have come
                wait(list(running), timeout=_PATIENCE, return_when="FIRST_COMPLETED")
            for future in [future for future in running if future.done()]:
                trial, error = running.pop(future), future.exception()
                if error is not None:
                    failed[trial.name] = " ".join(str(error).split())
                report("trials", len(trials) - len(waiting) - len(running), len(trials))
    return failed


def _unless_done(work: Work, trial: Planned) -> None:
    """The engine runs a task again whose worker dies after it."""
    if not trial.done:
        work(trial)


@contextmanager
def _cluster(jobs: int | None) -> Iterator[Any]:
    """One process and one thread for each job; no page about it."""
    from distributed import LocalCluster

    count = jobs or os.cpu_count() or 1
    own = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(count, **own) as cluster:
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
