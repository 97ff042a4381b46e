"""Many trials on all processors or a cluster, by dask.distributed. A finished trial is a file, and is never repeated.

A trial has one folder, and runs in a process of its own: what kills that costs this trial alone, and the next sweep
goes on from its last whole round. Where a whole worker is lost, the engine starts its trial on another. On a cluster
the folders have to be shared.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
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
    flip: bool,
    settings: Sequence[Settings],
    folder: Path,
) -> list[Planned]:
    """Every network with each of the settings. Paths become absolute: workers have folders of their own."""
    found = []
    for model, chosen in itertools.product(models, settings):
        name = f"{model.stem}_{chosen.method}_{chosen.ram}_seed{chosen.seed}"
        source = str(Path(data).resolve()) if Path(data).is_dir() else data
        found.append(Planned(name, Trial(model.resolve(), source, chosen, limit, flip), folder.resolve() / name))
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

    No more trials are on the way than there are workers.
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
            running |= {client.submit(in_process, work, t, key=str(t.folder)): t for t in waiting[:free]}
            waiting = waiting[free:]
            with suppress(Waited):  # workers may have come
                wait(list(running), timeout=_PATIENCE, return_when="FIRST_COMPLETED")
            for future in [future for future in running if future.done()]:
                trial, error = running.pop(future), future.exception()
                if error is not None:
                    failed[trial.name] = " ".join(str(error).split())
                report("trials", len(trials) - len(waiting) - len(running), len(trials))
    return failed


def in_process(work: Work, trial: Planned) -> None:
    """In a worker: the trial in a process of its own, unless it is done; raises RuntimeError where that dies.

    The process reads what it is to do, and ends with the worker, whose pipe it listens to.
    """
    if trial.done:  # the engine runs a task again whose worker dies after it
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "tvm_pex.codesign.sweep"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, env=environment) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(pickle.dumps((work, trial)))
        process.stdin.flush()
        words = process.stderr.read().decode(errors="replace").strip().splitlines()
        status = process.wait()
    if status < 0:
        raise RuntimeError(f"its process died of {signal.Signals(-status).name}")
    if status:
        raise RuntimeError(words[-1] if words else f"its process ended with status {status}")


def _serve() -> None:
    """The other end of ``in_process``."""
    work, trial = pickle.load(sys.stdin.buffer)

    def end_with_worker() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=end_with_worker, daemon=True).start()
    work(trial)
    sys.stdout.flush()
    os._exit(0)  # the thread holds standard input


@contextmanager
def _cluster(jobs: int | None) -> Iterator[Any]:
    """One thread for each job, which waits for the process of its trial; no page about it."""
    from distributed import LocalCluster

    count = jobs or os.cpu_count() or 1
    quiet = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(count, threads_per_worker=1, processes=False, **quiet) as cluster:
        yield cluster


@contextmanager
def _address(cluster: str) -> Iterator[str]:
    yield cluster


def prune_alone(planned: Planned) -> None:
    """The trial on one processor."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    planned.folder.mkdir(parents=True, exist_ok=True)
    run_trial(planned.trial, planned.folder, planned.folder / "pruned.tflite", _silently, jobs=1)


def _silently(_what: str, _done: int | None, _total: int | None) -> None: ...


if __name__ == "__main__":
    _serve()
