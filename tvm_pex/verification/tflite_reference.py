"""What TFLite's reference kernels make of a file.

They come in two runtimes. TFLite Micro's round twice, as gemmlowp defined it, and so do TensorFlow's, but for dense
layers of int8: these TensorFlow 2.21 rounds once, as stock TVM does. So TFLite Micro is asked first, and TensorFlow
where that has no kernel, as for uint8.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from tvm_pex.frontend.tflite_model import Port
from tvm_pex.port_files import Array


class NoReference(Exception):
    """TFLite's reference kernels cannot be run here, or not on this file; the message is one line."""


RUNTIMES = ("tflite-micro", "tensorflow")


@dataclass(frozen=True)
class Reference:
    """``outputs`` of the file, in its order, each of shape (runs, *shape), and the ``runtime`` that gave them.

    ``head_bytes`` of TFLite Micro's arena hold input, output, tensors and scratch; ``persistent_bytes`` are kept for
    structures beside them, on this machine, whose pointers are twice as wide as a microcontroller's.
    """

    outputs: tuple[Array, ...]
    runtime: str
    head_bytes: int | None = None
    persistent_bytes: int | None = None


def run_reference(
    data: bytes, ports: Sequence[Port], inputs: Mapping[str, Array], runtimes: Sequence[str] = RUNTIMES
) -> Reference:
    """The file ``data`` run on arrays of shape (runs, *port shape), by the first of ``runtimes`` that can.

    ``ports`` are the inputs as a program takes them: numbers for a port of 8 bits where the file's is of floats are
    those that the file's own operator quantises to them. Raises NoReference.
    """
    graph = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
    given = [_as_file(inputs[port.name], port, graph.Tensors(graph.Inputs(k))) for k, port in enumerate(ports)]
    reasons = []
    for runtime in runtimes:
        try:
            return _run(runtime, data, given)
        except NoReference as error:
            reasons.append(str(error))
    raise NoReference("; ".join(reasons))


_ALLOCATED = re.compile(r"Arena allocation (head|tail) (\d+) bytes")
_TELLING = re.compile(r"fail|error|unsupported|not support|didn't find", re.IGNORECASE)
_PROCESS = Path(__file__).with_name("tflite_process.py")
_NOT_INSTALLED = 2  # its exit status
_EXTRAS = {"tflite-micro": "rivals", "tensorflow": "train"}


def _as_file(values: Array, port: Port, tensor: Any) -> Array:
    """``values`` in the type of the file's input."""
    if tensor.Type() != tflite.TensorType.FLOAT32 or np.dtype(port.dtype).kind == "f":
        return values
    assert port.scale is not None and port.zero_point is not None
    steps = values.astype(np.int32) - port.zero_point
    return steps.astype(np.float32) * np.float32(port.scale)


def _run(runtime: str, data: bytes, inputs: Sequence[Array]) -> Reference:
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        model, given, taken = (Path(name) / file for file in ("model.tflite", "inputs.npz", "outputs.npz"))
        model.write_bytes(data)
        np.savez(given, *inputs)
        command = [sys.executable, str(_PROCESS), runtime, str(model), str(given), str(taken)]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode == _NOT_INSTALLED:
            raise NoReference(f"{runtime} is not installed (pip install 'tvm-pex[{_EXTRAS[runtime]}]')")
        if done.returncode:
            raise NoReference(f"{runtime} does not run it: {telling_line(done)[:200]}")
        with np.load(taken) as outputs:
            answered = tuple(outputs[name] for name in outputs.files)
    told = {part: int(size) for part, size in _ALLOCATED.findall(done.stdout + done.stderr)}
    return Reference(answered, runtime, told.get("head"), told.get("tail"))


def telling_line(done: subprocess.CompletedProcess[str]) -> str:
    """The first line that names what failed, else the last, and the signal that ended the process."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    said = next((line for line in lines if _TELLING.search(line)), lines[-1] if lines else "it said nothing")
    return said + (f" ({signal.Signals(-done.returncode).name})" if done.returncode < 0 else "")
