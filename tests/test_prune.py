"""``tvm-pex prune`` as apps/codesign runs it, in small: pictures and sound made here, as commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from codesign_runs import command, write_pictures, write_recordings
from model_files import ROOT

from tvm_pex.cli import main
from tvm_pex.cli.errors import BadInput, NothingFits
from tvm_pex.cli.prune import errors
from tvm_pex.codesign.choice import Unreachable
from tvm_pex.codesign.data import DataError
from tvm_pex.codesign.judge import wilson
from tvm_pex.frontend.tflite_model import load_model

BASE, TABLE = (ROOT / "apps" / "codesign" / name for name in ("base.py", "table.py"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "rounds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def channels(row: dict[str, str]) -> dict[str, int]:
    return {name: int(count) for name, count in (item.split("=") for item in row["channels"].split())}


def pruned(name: str, data: Path, ram: int, folder: Path, *options: str) -> dict[str, Any]:
    """Trains the network ``name`` and prunes it; its tensors have to be smaller, its program exact and in budget."""
    network, output, state = folder / "net.keras", folder / "small.tflite", folder / "small.prune"
    made = command(BASE, name, "--train", data, *options, "-o", network)
    assert made.returncode == 0, made.stderr[-2000:]
    fast = ["--cut", "0.25", "--step", "0.5", "--epochs", "2", "--final-epochs", "4", "--jobs", "1", "--json"]
    done = command("-m", "tvm_pex", "prune", network, "--train", data, "--ram", str(ram), *fast, "-o", output)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    log = rows(state)
    first, last = log[0], log[-1]
    arenas, verdict = [int(row["arena_bytes"]) for row in log], result["verdict"]
    assert arenas == sorted(arenas, reverse=True)
    assert arenas[0] == result["before"] > ram >= verdict["arena_bytes"] >= arenas[-1]
    before, after = channels(first), channels(last)
    assert all(after[group] <= before[group] for group in before)
    assert after != before
    assert verdict["exact"]
    assert verdict["macs"] == int(last["macs"]) < int(first["macs"])
    assert verdict["low"] < verdict["accuracy"] < verdict["high"] or verdict["accuracy"] == 1
    assert (state / "rounds.svg").read_text().startswith("<?xml")
    return result


def test_a_network_for_pictures_is_pruned_to_its_budget(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures", 60)
    result = pruned("tiny", data, 800, tmp_path, "--epochs", "30")
    assert result["verdict"]["samples"] == 36
    assert result["verdict"]["accuracy"] > 0.6
    told = command(TABLE, tmp_path / "small.prune", "--svg", tmp_path / "curve.svg")
    assert f"| {result['verdict']['arena_bytes']:,} | {result['verdict']['macs']:,} | yes |" in told.stdout
    assert ElementTree.parse(tmp_path / "curve.svg").getroot().tag.endswith("svg")
    (port,) = load_model(tmp_path / "small.tflite").inputs
    assert port.shape == (1, 14, 14, 1)


def test_a_network_for_sound_is_pruned_to_its_budget(tmp_path: Path) -> None:
    data = write_recordings(tmp_path / "recordings", 20)
    result = pruned("digits", data, 400, tmp_path, "--width", "0.125", "--resolution", "16", "--epochs", "120")
    assert result["verdict"]["samples"] == 40  # ann's
    assert result["verdict"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cut", "nan"], "--cut nan: give a number from 0.01 to 0.9"),
        (["--step", "0"], "--step 0: give a number"),
        (["--rate", "nan"], "--rate nan: give a number from"),
        (["--rate", "-1"], "--rate -1: give a number"),
        (["--macs", "inf"], "--macs inf: give a number"),
        (["--seed", "4294967296"], "4294967296 is not in the range"),
        ([], "net.keras: no such file"),
    ],
)
def test_odd_numbers_are_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    output = str(tmp_path / "small.tflite")
    done = CliRunner().invoke(main, ["prune", "net.keras", "--ram", "1k", *arguments, "-o", output])
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1


def test_what_cannot_be_done_is_one_line() -> None:
    for error, ending in ((Unreachable("too small"), NothingFits), (DataError("nowhere"), BadInput)):
        with pytest.raises(ending, match=str(error)), errors():
            raise error


@pytest.mark.parametrize(("right", "count"), [(81, 100), (9_000, 10_000), (1, 7)])
def test_ends_of_the_interval_are_where_the_count_is_just_not_surprising(right: int, count: int) -> None:
    for share in wilson(right, count):
        deviation = (share * (1 - share) / count) ** 0.5
        assert abs(right / count - share) == pytest.approx(1.959964 * deviation)
    assert wilson(0, 10)[0] == pytest.approx(0)
    assert wilson(10, 10)[1] == pytest.approx(1)
