"""``tvm-pex scale``: which version of a network is the largest that fits, and what its program is worth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from codesign_runs import command, write_pictures
from model_files import ROOT

from tvm_pex.cli import main
from tvm_pex.codesign.scaling import FunctionError, Version, largest, maker

TINY = f"{ROOT / 'apps' / 'codesign' / 'networks.py'}:tiny"


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_has_no_better_that_fits(seed: int) -> None:
    generator = np.random.default_rng(seed)
    found = [
        Version(width, resolution, *map(int, generator.integers(1, 100, 3)))
        for width in (0.25, 0.5, 1.0)
        for resolution in (32, 48, 64)
    ]
    for planned in (False, True):
        for ram in (0, 20, 50, 100):
            best = largest(found, ram, planned)
            fitting = [v for v in found if (v.arena if planned else v.layers) <= ram]
            assert (best in fitting) if fitting else best is None
            assert best is None or all((v.resolution, v.width) <= (best.resolution, best.width) for v in fitting)


def test_the_program_of_the_largest_is_judged(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 20)
    sizes = ["--widths", "0.5", "--resolutions", "14,32", "--ram", "1500"]
    done = command("-m", "tvm_pex", "scale", *sizes, "--train", pictures, "--epochs", "1", "--json", TINY)
    assert done.returncode == 0, done.stderr[-2000:]
    layers, pex = json.loads(done.stdout)["rows"]
    assert (layers["runs"], layers["version"], layers["verdict"]) == ("layer by layer", None, None)
    assert pex["runs"] == "tvm_pex"
    version, verdict = pex["version"], pex["verdict"]
    assert version["resolution"] == 14
    assert version["arena"] <= verdict["arena_bytes"] <= 1500 < version["layers"]
    assert verdict["macs"] == version["macs"]
    assert verdict["exact"]
    assert verdict["samples"] == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ram", "8k", "--widths", "nan"], "--widths nan: give numbers up to 16"),
        (["--ram", "8k", "--widths", "1,,2"], "--widths 1,,2: give numbers"),
        (["--ram", "8k", "--widths", "0"], "--widths 0: give numbers"),
        (["--ram", "8k", "--resolutions", "nan"], "--resolutions nan: give whole numbers up to 4096"),
        (["--ram", "8k", "--resolutions", "8.5"], "--resolutions 8.5: give whole numbers"),
        (["--ram", "8k", "--rate", "inf"], "--rate inf: give a number from"),
        (["--ram", "nan"], "--ram nan: give a number of bytes"),
    ],
)
def test_odd_numbers_are_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["scale", TINY, *arguments])
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1


def test_where_there_is_no_function(tmp_path: Path) -> None:
    path = tmp_path / "networks.py"
    path.write_text("small = 3\n")
    for text, said in ((f"{path}:small", "no function small"), ("nowhere.py:small", "give FILE.py:FUNCTION")):
        with pytest.raises(FunctionError, match=said):
            maker(text)
