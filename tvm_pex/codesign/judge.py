"""What a pruned file is worth: its program compiled for the budget, verified, and run on the test split on this host.

In a process of its own, because TensorFlow and TVM cannot share one::

    python -m tvm_pex.codesign.judge MODEL.tflite TEST.npz RESULT.json RAM AXES OVERWRITE
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tvm_pex.codesign.data import Split
from tvm_pex.files import write_whole

FLAGS = ("-std=gnu99", "-O3", "-ffp-contract=off", "-w")
_CORE = "cortex-m4"
_Z = 1.959964  # of a normal distribution, for 95 %


class JudgeError(Exception):
    """The program could not be made or run; one line."""


@dataclass(frozen=True)
class Verdict:
    """Of the int8 program: ``exact`` is what ``verify`` says; ``low`` and ``high`` are Wilson's interval of 95 %."""

    arena_bytes: int
    layer_by_layer_bytes: int
    macs: int
    exact: bool
    accuracy: float
    low: float
    high: float
    samples: int


def judge(file: Path, test: Split, ram: int, axes: tuple[str, ...], overwrite_input: bool) -> Verdict:
    """Raises JudgeError, also when nothing fits ``ram``."""
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        inputs, result = Path(folder) / "test.npz", Path(folder) / "result.json"
        np.savez(inputs, inputs=test.inputs, labels=test.labels)
        command = [sys.executable, "-m", "tvm_pex.codesign.judge", str(file), str(inputs), str(result)]
        command += [str(ram), ",".join(axes), str(int(overwrite_input))]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
            raise JudgeError(f"{file}: {last[0]}")
        return Verdict(**json.loads(result.read_text()))


def wilson(right: int, count: int) -> tuple[float, float]:
    """The interval of 95 % for a share of which ``right`` of ``count`` were seen."""
    share, square = right / count, _Z**2 / count
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _verdict(file: Path, test: Split, ram: int, axes: tuple[str, ...], overwrite_input: bool) -> Verdict:
    from tvm_pex import _tvm
    from tvm_pex.compiler import compile_model
    from tvm_pex.frontend.tflite_model import load_model
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.verify import verify

    _tvm.silence()
    model = load_model(file)
    options = PlanOptions(axes=axes, overwrite_input=overwrite_input, ram=ram, core=_CORE)
    compiled = compile_model(model, options)
    checked = verify(model, compiled, inputs=5)
    right = _right(model, compiled, test)
    return Verdict(
        arena_bytes=compiled.arena_bytes,
        layer_by_layer_bytes=compiled.report["layer_by_layer_bytes"],
        macs=compiled.report["macs"],
        exact=checked.passed,
        accuracy=right / len(test),
        **dict(zip(("low", "high"), wilson(right, len(test)))),
        samples=len(test),
    )


def _right(model: Any, compiled: Any, test: Split) -> int:
    """How many of the samples the compiled C gives their class."""
    from tvm_pex.verification.host_run.run import compile_host, run_host

    (port,) = model.inputs
    limits = np.iinfo(port.dtype)
    values = np.clip(np.round(test.inputs / port.scale) + port.zero_point, limits.min, limits.max).astype(port.dtype)
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        program = compile_host(compiled.build, Path(folder), flags=FLAGS)
        run = run_host(
            program,
            {port.name: values.reshape(-1, *port.shape)},
            pools={pool.name: pool.peak_bytes for pool in compiled.pools},
            input_places=compiled.input_places,
            output_places=compiled.output_places,
        )
    (scores,) = run.outputs.values()
    return int((scores.reshape(len(test), -1).argmax(axis=1) == test.labels).sum())


def _main(file: str, inputs: str, result: str, ram: str, axes: str, overwrite_input: str) -> None:
    with np.load(inputs) as arrays:
        test = Split(arrays["inputs"], arrays["labels"])
    chosen = tuple(axis for axis in axes.split(",") if axis)
    verdict = _verdict(Path(file), test, int(ram), chosen, bool(int(overwrite_input)))
    write_whole(Path(result), json.dumps(asdict(verdict)).encode())


if __name__ == "__main__":
    _main(*sys.argv[1:])
