"""The table of instructions: what it takes from several runs, and bad input."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

TABLE = Path(__file__).parents[1] / "apps" / "speed" / "table.py"


def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("speed_table", TABLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def report(instructions: int, exact: bool) -> SimpleNamespace:
    sections = SimpleNamespace(flash_bytes=instructions + 1)
    return SimpleNamespace(arena_bytes=9, instructions=instructions, stack_bytes=7, sections=sections, exact=exact)


def test_the_fewest_instructions_count_and_every_run_must_be_exact() -> None:
    measured = table().fewest([report(30, True), report(20, True), report(40, True)])
    assert (measured.instructions, measured.flash_bytes, measured.exact) == (20, 21, True)
    assert str(measured) == "9 | 20 | 7 | 21"
    assert not table().fewest([report(30, False), report(20, True)]).exact


def test_what_is_no_model_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    done = subprocess.run([sys.executable, TABLE, broken], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "broken.tflite" in done.stderr
