"""``tvm-pex prune`` on small pictures made here, as commands: TensorFlow is in no process of ours."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import ROOT
from PIL import Image

from tvm_pex.codesign.judge import wilson
from tvm_pex.frontend.tflite_model import load_model

BASE = ROOT / "apps" / "codesign" / "base.py"
RAM = 800


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 14x14 grey pictures: bars across, bars upright, and a ramp; with noise."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:14, :14]
    for name, pattern in {"across": rows % 4 < 2, "upright": columns % 4 < 2, "ramp": (rows + columns) / 26}.items():
        (folder / name).mkdir()
        for number in range(60):
            pixels = 150 * np.roll(pattern, generator.integers(4), axis=(0, 1)) + generator.uniform(0, 100, (14, 14))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def network(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    made = command(BASE, "tiny", "--train", pictures, "--epochs", "30", "-o", path)
    assert made.returncode == 0, made.stderr[-2000:]
    return path


def prune(network: Path, pictures: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    fast = ["--cut", "0.12", "--epochs", "4", "--final-epochs", "6", "--jobs", "1"]
    return command("-m", "tvm_pex", "prune", network, "--train", pictures, *fast, *options, "-o", output)


def pruned(network: Path, pictures: Path, output: Path, *options: str) -> dict[str, Any]:
    done = prune(network, pictures, output, "--ram", str(RAM), "--json", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "rounds.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def channels(row: dict[str, str]) -> dict[str, int]:
    return {name: int(count) for name, count in (item.split("=") for item in row["channels"].split())}


def test_a_network_is_pruned_to_its_budget_and_resumes(network: Path, pictures: Path, tmp_path: Path) -> None:
    output, folder = tmp_path / "small.tflite", tmp_path / "small.prune"
    result = pruned(network, pictures, output)
    first, *_, last = log = rows(folder)
    assert len(log) > 2
    arenas = [int(row["arena_bytes"]) for row in log]
    assert arenas == sorted(arenas, reverse=True)
    assert arenas[0] == result["before"] > RAM >= arenas[-1]
    before, after = channels(first), channels(last)
    assert all(after[name] <= before[name] for name in before)
    assert after != before
    verdict = result["verdict"]
    assert verdict["exact"]
    assert arenas[-1] <= verdict["arena_bytes"] <= RAM
    assert verdict["macs"] == int(last["macs"])
    assert verdict["low"] < verdict["accuracy"] < verdict["high"] or verdict["accuracy"] == 1
    assert verdict["samples"] == 36
    assert verdict["accuracy"] > 0.6
    assert (folder / "rounds.svg").read_text().startswith("<?xml")
    (port,) = load_model(output).inputs
    assert port.shape == (1, 14, 14, 1)

    cut, again = tmp_path / "again.prune", tmp_path / "again.tflite"
    cut.mkdir()
    for name in ("settings.json", "000.keras", "001.keras"):
        shutil.copy(folder / name, cut)
    (cut / "rounds.csv").write_text("".join((folder / "rounds.csv").read_text().splitlines(keepends=True)[:3]))
    assert pruned(network, pictures, again) == result
    assert rows(cut) == log
    assert again.read_bytes() == output.read_bytes()

    other = prune(network, pictures, again, "--ram", str(RAM), "--seed", "1")
    assert other.returncode == 2
    assert "differs in seed" in other.stderr


def test_what_cannot_be_done_is_one_line(network: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "small.tflite"
    small = prune(network, pictures, output, "--ram", "100", "--method", "layers", "--importance", "l1")
    assert small.returncode == 3
    assert small.stderr.startswith("tvm-pex: ")
    assert not output.exists()
    nowhere = prune(network, tmp_path / "nowhere", tmp_path / "other.tflite", "--ram", "1k")
    assert nowhere.returncode == 2
    assert "nowhere: give fashion-mnist or a folder" in nowhere.stderr


@pytest.mark.parametrize(("right", "count"), [(81, 100), (9_000, 10_000), (1, 7)])
def test_ends_of_the_interval_are_where_the_count_is_just_not_surprising(right: int, count: int) -> None:
    for share in wilson(right, count):
        deviation = (share * (1 - share) / count) ** 0.5
        assert abs(right / count - share) == pytest.approx(1.959964 * deviation)
    assert wilson(0, 10)[0] == pytest.approx(0)
    assert wilson(10, 10)[1] == pytest.approx(1)
