"""Damaged model files, a few hundred of them: each ends in success or in one clear line. fuzz_models.py runs more."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_models import damaged_file, run_cases, seeds

from tvm_pex import _tvm

CASES = 700


def test_every_damaged_file_ends_in_success_or_in_one_line(tmp_path: Path) -> None:
    _tvm.silence()
    known = seeds((), tmp_path)
    result = run_cases(known, range(CASES), timeout=60)
    assert result.faults == []
    assert sum(result.classes.values()) == CASES
    assert {"success: read", "success: planned", "success: compiled"} <= result.classes.keys()
    assert sum(count for kind, count in result.classes.items() if kind.startswith("refused")) > CASES / 4


def test_a_fault_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: a crash, a hang, a traceback, two lines and noise each count as a fault."""
    known = seeds((), tmp_path)
    program = {
        0: "import os; os.kill(os.getpid(), 11)",
        1: "while True: pass",
        2: "raise KeyError('none of ours')",
        3: "raise BadInput(f'{path}: one\\nand another')",
        4: "import os; os.write(2, b'from C++')",
        5: "held.append(b'x' * (350 << 20))",
    }
    scope = {"held": []}
    exec("from tvm_pex.cli.errors import BadInput", scope)

    def load(request: object, _step: object) -> None:
        path = request.path  # type: ignore[attr-defined]
        for case, text in program.items():
            if path.read_bytes() == damaged_file(known, case):
                exec(text, {**scope, "path": path})
        raise scope["BadInput"](f"{path}: fine")

    monkeypatch.setattr("fuzz_models.load_request", load)
    result = run_cases(known, range(7), timeout=2)
    kinds = ("crash: SIGSEGV", "hang", "fault: KeyError", "fault: not one", "fault: 8 bytes of noise", "memory")
    assert len(result.faults) == len(kinds)
    for case, kind in enumerate(kinds):
        assert any(number == case and what.startswith(kind) for number, what in result.faults), kind
