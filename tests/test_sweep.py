"""Sweeps: trials here are functions that write a file, or kill the process that they run in."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from tvm_pex.codesign.judge import Verdict
from tvm_pex.codesign.pruning import Settings
from tvm_pex.codesign.state import StateError
from tvm_pex.codesign.sweep import Planned, check, planned, run_all
from tvm_pex.codesign.trial import Result

DEADLY, DEADLY_ONCE = 1, 2  # seeds


def work(trial: Planned) -> None:
    """Notes that it began; some seeds kill their process; the others leave a result."""
    trial.folder.mkdir(exist_ok=True)
    with (trial.folder / "begun").open("a") as file:
        file.write("x")
    seed = trial.trial.settings.seed
    if seed == DEADLY or (seed == DEADLY_ONCE and begun(trial) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    verdict = Verdict(trial.trial.settings.ram, 1, 1, True, 0.5, 0.4, 0.6, 10)
    (trial.folder / "result.json").write_text(json.dumps(asdict(Result(verdict, 2, 3, 4, 0.5))))


def begun(trial: Planned) -> int:
    return len((trial.folder / "begun").read_text())


def nothing(_what: str, _done: int | None, _total: int | None) -> None: ...


def trials(folder: Path) -> list[Planned]:
    settings = [Settings(ram=ram, seed=seed) for ram in (1000,) for seed in (0, DEADLY, DEADLY_ONCE, 3)]
    return planned([folder / "net.keras"], "fashion-mnist", None, True, settings, folder)


def test_what_dies_costs_its_own_trial_and_what_is_done_stays_done(tmp_path: Path) -> None:
    asked = trials(tmp_path)
    assert len({trial.name for trial in asked}) == 4
    failed = run_all(asked, work, None, 2, nothing)
    assert set(failed) == {trial.name for trial in asked if trial.trial.settings.seed in (DEADLY, DEADLY_ONCE)}
    assert all("SIGKILL" in reason for reason in failed.values())
    assert [trial.done for trial in asked] == [trial.name not in failed for trial in asked]
    failed = run_all(asked, work, None, 1, nothing)
    assert set(failed) == {trial.name for trial in asked if trial.trial.settings.seed == DEADLY}
    assert [begun(trial) for trial in asked] == [1, 2, 2, 1]
    done = [trial for trial in asked if trial.done]
    assert [trial.result().verdict.arena_bytes for trial in done] == [trial.trial.settings.ram for trial in done]
    assert not run_all(done, work, "tcp://nowhere:1", None, nothing)  # nobody is asked


def test_a_trial_of_other_settings_is_not_taken_for_done(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"weights")

    def asked(**settings: float) -> list[Planned]:
        return planned([tmp_path / "net.keras"], "fashion-mnist", None, True, [Settings(1000, **settings)], tmp_path)

    (first,) = asked()
    first.folder.mkdir()
    check([first])
    check(asked())
    with pytest.raises(StateError, match="differs in step"):
        check(asked(step=0.3))
    (tmp_path / "net.keras").write_bytes(b"other weights")
    with pytest.raises(StateError, match="differs in network"):
        check(asked())
