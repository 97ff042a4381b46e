"""Co-design: what needs Keras is in ``keras_codesign.py``, run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_files import ROOT

HERE = Path(__file__).parent


def test_on_keras_models() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "keras_codesign.py",
    ]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=HERE, env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:]
