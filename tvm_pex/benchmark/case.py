"""A model with what its rows are compared with: inputs, stock TVM's outputs, and those of TensorFlow Lite's kernels.

Each is made when a row first asks for it, and kept in the store.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tvm_pex._tvm import tvm
from tvm_pex.benchmark.rows import Difference
from tvm_pex.benchmark.store import Store, stock_revision
from tvm_pex.frontend.quantized_io import leave_quantisation
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.frontend.tflite_model import Model, load_model
from tvm_pex.port_files import Array
from tvm_pex.verification.tflite_reference import NoReference, Reference, run_reference
from tvm_pex.verification.verify import TOLERANCE, reference_outputs, sample_inputs

NAMES = {"tflite-micro": "TFLite Micro", "tensorflow": "TensorFlow Lite"}


class Case:
    """``path`` as it is, or with ``quantized_io``; ``inputs`` random ones from ``seed``. Raises ModelError."""

    def __init__(self, path: Path, store: Store, *, quantized_io: bool = False, inputs: int = 8, seed: int = 0) -> None:
        self.path, self.store, self.quantized_io, self.count, self.seed = path, store, quantized_io, inputs, seed
        self.file = path.read_bytes()
        self.read = load_model(path)
        self.model: Model = leave_quantisation(self.read) if quantized_io else self.read

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
    def micro(self) -> Reference | str:
        """TFLite Micro's run, or why there is none."""
        return self._reference("tflite-micro")

    @functools.cached_property
    def reference(self) -> Reference | str:
        """The reference kernels': TFLite Micro's, or TensorFlow Lite's where those do not run the model."""
        return self._reference("tensorflow") if isinstance(self.micro, str) else self.micro

    def _reference(self, runtime: str) -> Reference | str:
        depends = [self.sha256, _version(runtime), str(self.count), str(self.seed), str(self.quantized_io)]

        def make() -> dict[str, Array]:
            try:
                ran = run_reference(self.file, self.model.inputs, self.samples, (runtime,))
            except NoReference as error:
                return {"reason": np.array(str(error))}
            sizes = [-1 if size is None else size for size in (ran.head_bytes, ran.persistent_bytes)]
            return {"sizes": np.array(sizes), **{str(index): values for index, values in enumerate(ran.outputs)}}

        kept = self.store.arrays(f"{self.name}-{runtime}", depends, make)
        if "reason" in kept:
            return str(kept["reason"])
        head, persistent = (int(size) if size >= 0 else None for size in kept.pop("sizes"))
        return Reference(tuple(kept.values()), runtime, head, persistent)

    def differences(self, outputs: Sequence[Array]) -> Difference | None:
        """Of our outputs from the reference kernels', or None where these do not run or have other ports."""
        reference = self.reference
        if isinstance(reference, str) or len(outputs) != len(reference.outputs):
            return None
        pairs = list(zip(outputs, reference.outputs))
        if any(one.dtype != other.dtype or one.size != other.size for one, other in pairs):
            return None
        counts = [_differing(one.reshape(-1), other.reshape(-1)) for one, other in pairs]
        elements, differing = sum(one.size for one in outputs), sum(n for n, _ in counts)
        return Difference(
            NAMES[reference.runtime], differing / max(elements, 1), max((most for _, most in counts), default=0)
        )


def _differing(one: Array, other: Array) -> tuple[int, float]:
    """The number of elements that differ, and the largest difference."""
    if one.dtype.kind == "f":
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        span = float(np.ptp(other.astype(np.float64))) if other.size else 0.0
        return int((apart > TOLERANCE * span).sum()), float(apart.max(initial=0.0))
    difference = np.abs(one.astype(np.int64) - other.astype(np.int64))
    return int((difference > 0).sum()), int(difference.max(initial=0))


def _version(runtime: str) -> str:
    """Of the package that has the kernels, "" where it is not installed."""
    try:
        return version(runtime)
    except PackageNotFoundError:
        return ""
