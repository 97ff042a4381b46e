"""TensorFlow Lite's kernels beside ours: what TFLite Micro allocates, and what the reference kernels answer."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvm_pex.port_files import Array

NAMES = {"tflm": "TFLite Micro", "tflite": "TensorFlow Lite"}
_ALLOCATED = re.compile(r"Arena allocation (head|tail) (\d+) bytes")
_TELLING = re.compile(r"fail|error|unsupported|not support|didn't find", re.IGNORECASE)
_TIMEOUT = 900.0  # seconds: plain loops, on big networks


class InterpreterError(Exception):
    """It does not run the model; the message is one line that says why."""


@dataclass(frozen=True)
class Interpreted:
    """``outputs`` are of shape (runs, ...), in the model's order.

    ``head_bytes`` hold input, output, tensors and scratch; ``persistent_bytes`` are kept for structures beside them, on
    this machine, whose pointers are twice as wide as a microcontroller's. None where the interpreter does not tell.
    """

    outputs: tuple[Array, ...]
    head_bytes: int | None
    persistent_bytes: int | None


def interpret(kind: str, path: Path, inputs: Mapping[str, Array]) -> Interpreted:
    """Run ``path`` by ``kind``, one of ``NAMES``, on ``inputs`` in the model's order. Raises InterpreterError."""
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        given, answered = Path(name) / "inputs.npz", Path(name) / "outputs.npz"
        with given.open("wb") as file:
            np.savez(file, **{str(index): values for index, values in enumerate(inputs.values())})  # type: ignore[arg-type]
        module = "tvm_pex.benchmark.interpreter_process"
        command = [sys.executable, "-m", module, kind, str(path.resolve()), str(given), str(answered)]
        try:
            done = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise InterpreterError(f"it did not end within {_TIMEOUT:g} seconds") from None
        if done.returncode:
            raise InterpreterError(reason(done))
        with np.load(answered) as arrays:
            outputs = tuple(arrays[key] for key in arrays.files)
    told = {part: int(size) for part, size in _ALLOCATED.findall(done.stdout + done.stderr)}
    return Interpreted(outputs, told.get("head"), told.get("tail"))


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """The first line that names what failed, else the last, and the signal that ended the process."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    named = [line for line in lines if _TELLING.search(line)]
    said = (named or lines[-1:] or ["it said nothing"])[0]
    ended = f" ({signal.Signals(-done.returncode).name})" if done.returncode < 0 else ""
    return said + ended
