"""The demo on images made here: exactness, exit status, and the figures that the README quotes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stock_plans
from click.testing import CliRunner
from model_files import OWN, ROOT

sys.path.insert(0, str(OWN.parent))

import demo
import demo_output
from data import Bytes

pytestmark = stock_plans.GROUP

IMAGES = 12
ROWS = {"stock TVM, best plan": "stock", "tvm_pex": "pex", "tvm_pex, input overwritten": "pex_overwritten"}


def write_idx(path: Path, values: Bytes) -> None:
    sizes = np.array(values.shape, ">u4").tobytes()
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of noise between a black and a white image."""
    folder = tmp_path_factory.mktemp("fashion_mnist")
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (IMAGES, 28, 28), np.uint8)
    pixels[0], pixels[-1] = 0, 255
    write_idx(folder / "t10k-images-idx3-ubyte", pixels)
    write_idx(folder / "t10k-labels-idx1-ubyte", generator.integers(0, 10, IMAGES, np.uint8))
    return folder


@pytest.fixture(scope="module")
def report(images: Path) -> dict[str, Any]:
    """What the demo prints with ``--json``."""
    with pytest.MonkeyPatch.context() as patch:
        stock_plans.share(patch)
        done = CliRunner().invoke(demo.main, ["--data", str(images), "--images", str(IMAGES - 1), "--json"])
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_same_outputs_in_less_memory(report: dict[str, Any]) -> None:
    assert report["exact"] is report["guard_intact"] is True
    assert report["images"] == IMAGES - 1
    before = min(report["layer_by_layer_bytes"], report["stock"]["arena_bytes"])
    assert report["pex_overwritten"]["arena_bytes"] <= report["pex"]["arena_bytes"] < before
    assert report["pex"]["accuracy"] == report["stock"]["accuracy"]


def test_baseline_is_the_best_of_all_stock_plans(report: dict[str, Any]) -> None:
    plan = report["stock_plan"]
    assert len(plan["tried"]) == 12
    assert all((attempt["workspace_bytes"] is None) == bool(attempt["reason"]) for attempt in plan["tried"])
    best = min(a["workspace_bytes"] for a in plan["tried"] if a["workspace_bytes"] is not None)
    assert report["stock"]["arena_bytes"] == best + 28 * 28 + 10
    winner = next(a for a in plan["tried"] if a["workspace_bytes"] == best)
    assert {name: winner[name] for name in ("target", "alter_op_layout", "planner")} == {
        name: value for name, value in plan.items() if name != "tried"
    }


def test_table(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    white = np.full((3, 28, 28), 255, np.uint8)
    demo_output.show(report, white, np.array([1, 2, 3], np.uint8), np.array([1, 2, 4], np.uint8))
    printed = capsys.readouterr().out
    assert "trouser (right)" in printed
    assert "coat (is: dress)" in printed
    for name in ROWS.values():
        assert f"{report[name]['arena_bytes']:,}" in printed


@pytest.mark.parametrize("fault", ["exact", "guard_intact"])
def test_exit_status_1(fault: str, report: dict[str, Any], images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**report, fault: False}
    monkeypatch.setattr(demo, "measure", lambda *_: (broken, np.zeros(IMAGES, np.uint8)))
    assert CliRunner().invoke(demo.main, ["--data", str(images), "--json"]).exit_code == 1


def test_one_different_byte_is_not_exact() -> None:
    scores = np.zeros((2, 10), np.int8)
    other = scores.copy()
    other[1, 9] = 1
    model: Any = SimpleNamespace(name="", layer_by_layer_bytes=1)
    stock: Any = SimpleNamespace(target="", alter_op_layout=True, planner="", tried=())
    programs = [demo.Program(name, stock, 1, 1, {}, {}) for name in ("stock", "pex")]
    for said, exact in ((scores, True), (other, False)):
        answers = [demo.Answers(scores, True), demo.Answers(said, True)]
        summary = demo.summarise(model, stock, programs, answers, np.zeros(2, np.uint8))
        assert summary["exact"] is summary["pex"]["exact"] is exact


def test_missing_data_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(OWN.parent / "demo.py"), "--data", str(tmp_path)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "dataset-fashion-mnist" in done.stderr


def test_readme_quotes_the_demo(report: dict[str, Any]) -> None:
    quoted = dict(re.findall(r"^\| ([^|]+?) +\| +([\d,]+) +\|", (ROOT / "README.md").read_text(), re.MULTILINE))
    expected = {"layer by layer": report["layer_by_layer_bytes"]}
    expected |= {label: report[name]["arena_bytes"] for label, name in ROWS.items()}
    assert {label: int(quoted[label].replace(",", "")) for label in expected} == expected
