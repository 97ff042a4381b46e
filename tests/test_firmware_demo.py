"""The firmware demo on images made here: what fits, what does not, and the same outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import stock_plans
from click.testing import CliRunner
from model_files import ROOT
from test_demo import write_idx

sys.path.insert(0, str(ROOT / "apps" / "firmware_demo"))

import firmware_demo

pytestmark = stock_plans.GROUP


def test_in_a_device_that_stock_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock_plans.share(monkeypatch)
    generator = np.random.default_rng(0)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", generator.integers(0, 256, (3, 28, 28), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", generator.integers(0, 10, 3, np.uint8))
    arguments = ["--data", str(tmp_path)]
    done = CliRunner().invoke(firmware_demo.main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["exact"] is True
    assert report["images"] == 3
    assert report["pex"]["ram_bytes"] <= firmware_demo.RAM
    assert report["pex"]["flash_bytes"] <= firmware_demo.FLASH
    needed = report["stock"]["ram_bytes"]
    assert f"needs {needed} bytes of RAM, {needed - firmware_demo.RAM} more" in report["stock"]["reason"]


def test_a_device_that_is_too_small(tmp_path: Path) -> None:
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((1, 28, 28), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(1, np.uint8))
    done = CliRunner().invoke(firmware_demo.main, ["--data", str(tmp_path), "--ram", "8192"])
    assert done.exit_code == 3
    assert done.stdout == ""
    assert "more than the 8192" in done.stderr
