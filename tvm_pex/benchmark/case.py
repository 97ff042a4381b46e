"""A model with what its rows are compared with: inputs, stock TVM's outputs, and those of TensorFlow Lite's kernels.

Each is made when a row first asks for it, and kept in the store.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tvm_pex._tvm import tvm
from tvm_pex.benchmark.interpreters import NAMES, InterpreterError, interpret
from tvm_pex.benchmark.rows import Difference
from tvm_pex.benchmark.store import Store, stock_revision
from tvm_pex.frontend.quantized_io import leave_quantisation
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.frontend.tflite_model import Model, load_model
from tvm_pex.port_files import Array
from tvm_pex.verification.verify import TOLERANCE, reference_outputs, sample_inputs


@dataclass(frozen=True)
class Reference:
    """Outputs of ``kernels``, with TFLite Micro's memory; ``reason`` says why a kind of kernels did not run."""

    kernels: str
    outputs: tuple[Array, ...]
    head_bytes: int | None
    persistent_bytes: int | None
    reason: str


class Case:
    """``path`` as it is, or with ``quantized_io``; ``inputs`` random ones from ``seed``. Raises ModelError."""

    def __init__(self, path: Path, store: Store, *, quantized_io: bool = False, inputs: int = 8, seed: int = 0) -> None:
        self.path, self.store, self.quantized_io, self.count, self.seed = path, store, quantized_io, inputs, seed
        self.file = path.read_bytes()
        model = load_model(path)
        self.model: Model = leave_quantisation(model) if quantized_io else model

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.file).hexdigest()

    @property
    def name(self) -> str:
        return self.path.stem + ("-quantized_io" if self.quantized_io else "")

    @functools.cached_property
    def stock_depends(self) -> list[str]:
        """What stock TVM's programs depend on."""
        main, _ = define_shifts(self.model.mod["main"])
        module = tvm.ir.structural_hash(tvm.IRModule.from_expr(main))
        return [str(module), tvm.__version__, stock_revision()]

    @functools.cached_property
    def samples(self) -> dict[str, Array]:
        """For each port an array of shape (inputs, *port shape)."""
        return sample_inputs(self.model, self.count, self.seed)

    @functools.cached_property
    def expected(self) -> dict[str, Array]:
        """Stock TVM's outputs. Raises HostError, and AotError where it does not build."""
        return self.store.arrays(
            f"{self.name}-expected",
            [*self.stock_depends, str(self.count), str(self.seed)],
            lambda: reference_outputs(self.model, self.samples),
        )

    @functools.cached_property
    def micro(self) -> Reference:
        """TFLite Micro's run."""
        return self._reference("tflm")

    @functools.cached_property
    def reference(self) -> Reference:
        """The reference kernels: TFLite Micro's, or TensorFlow Lite's where those do not run the model."""
        return self._reference("tflite") if self.micro.reason else self.micro

    def _reference(self, kind: str) -> Reference:
        depends = [self.sha256, _version(kind), str(self.count), str(self.seed), str(self.quantized_io)]

        def make() -> dict[str, Array]:
            try:
                ran = interpret(kind, self.path, self._interpreter_inputs())
            except InterpreterError as error:
                return {"reason": np.array(str(error))}
            sizes = [-1 if size is None else size for size in (ran.head_bytes, ran.persistent_bytes)]
            return {"sizes": np.array(sizes), **{str(index): values for index, values in enumerate(ran.outputs)}}

        kept = self.store.arrays(f"{self.name}-{kind}", depends, make)
        if "reason" in kept:
            return Reference(NAMES[kind], (), None, None, str(kept["reason"]))
        head, persistent = (int(size) if size >= 0 else None for size in kept.pop("sizes"))
        return Reference(NAMES[kind], tuple(kept.values()), head, persistent, "")

    def _interpreter_inputs(self) -> dict[str, Array]:
        """As the file takes them: floats where the caller quantises for us."""
        found = {}
        for port in self.model.inputs:
            values = self.samples[port.name]
            if self.quantized_io and port.scale is not None and port.zero_point is not None:
                values = ((values.astype(np.int32) - port.zero_point) * np.float64(port.scale)).astype(np.float32)
            found[port.name] = values
        return found

    def differences(self, outputs: Sequence[Array]) -> Difference | None:
        """Of our outputs from the reference kernels', or None where these do not run or have other ports."""
        reference = self.reference
        pairs = list(zip(outputs, reference.outputs))
        if reference.reason or len(outputs) != len(reference.outputs):
            return None
        if any(one.dtype != other.dtype or one.size != other.size for one, other in pairs):
            return None
        counts = [_differing(one.reshape(-1), other.reshape(-1)) for one, other in pairs]
        elements, differing = sum(one.size for one in outputs), sum(n for n, _ in counts)
        return Difference(reference.kernels, differing / max(elements, 1), max((most for _, most in counts), default=0))


def _differing(one: Array, other: Array) -> tuple[int, float]:
    """The number of elements that differ, and the largest difference."""
    if one.dtype.kind == "f":
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        span = float(np.ptp(other.astype(np.float64))) if other.size else 0.0
        return int((apart > TOLERANCE * span).sum()), float(apart.max(initial=0.0))
    difference = np.abs(one.astype(np.int64) - other.astype(np.int64))
    return int((difference > 0).sum()), int(difference.max(initial=0))


def _version(kind: str) -> str:
    """Of the package that has the kernels, "" where it is not installed."""
    try:
        return version({"tflm": "tflite-micro", "tflite": "tensorflow"}[kind])
    except PackageNotFoundError:
        return ""
