"""Single operators, in every random encoding, give the bytes of TFLite Micro's reference kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_writer import OperatorSpec, TensorSpec, model_bytes

from tvm_pex.compiler import compile_model
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.tflite_model import Model, load_model
from tvm_pex.graph import Binary, Lookup, Pool, Resize
from tvm_pex.options import PlanOptions
from tvm_pex.verification.tflite_agreement import verify_tflite
from tvm_pex.verification.tflite_reference import run_reference

ENCODINGS = 24
VALUES = np.arange(256, dtype=np.uint8).view(np.int8).reshape(1, 16, 16, 1)

MICRO = ("tflite-micro",)

Rng = np.random.Generator
Encoding = tuple[float, int]


def encoding(rng: Rng, largest: float = 8.0) -> Encoding:
    """Of values up to about ``largest``: of such a scale, around any zero point."""
    scale = np.float32(largest / 128 * np.exp(rng.uniform(-2.5, 1.0)))
    return float(scale), int(rng.choice([-128, 0, 127, *rng.integers(-128, 128, 3)]))


def tensor(name: str, shape: Sequence[int], code: Encoding, data: Any = None) -> TensorSpec:
    return TensorSpec(name, tuple(shape), "int8", data, (code[0],), (code[1],))


def model_of(folder: Path, tensors: Sequence[TensorSpec], operators: Sequence[OperatorSpec]) -> Model:
    """A file whose inputs are the tensors x0, x1, ... and whose outputs are all tensors y0, y1, ..."""
    inputs, outputs = ([t.name for t in tensors if t.name[0] == kind] for kind in "xy")
    path = folder / "model.tflite"
    path.write_bytes(model_bytes(tensors, operators, inputs, outputs))
    return load_model(path)


FUNCTIONS: dict[str, tuple[str, Callable[[Rng], dict[str, Any]], Callable[[Rng], Encoding]]] = {
    "LOGISTIC": ("", lambda rng: {}, lambda rng: (1 / 256, -128)),
    "TANH": ("", lambda rng: {}, lambda rng: (1 / 128, 0)),
    "HARD_SWISH": ("HardSwish", lambda rng: {}, encoding),
    "LEAKY_RELU": ("LeakyRelu", lambda rng: {"Alpha": float(rng.uniform(0.01, 1.5))}, encoding),
}


@pytest.mark.parametrize("code", FUNCTIONS)
def test_tables(code: str, tmp_path: Path) -> None:
    """All 256 values, for random encodings."""
    kind, options, encoding_out = FUNCTIONS[code]
    rng = np.random.default_rng(len(code))
    tensors, operators = [], []
    for number in range(ENCODINGS):
        tensors.append(tensor(f"x{number}", VALUES.shape, encoding(rng)))
        tensors.append(tensor(f"y{number}", VALUES.shape, encoding_out(rng)))
        operators.append(OperatorSpec(code, (f"x{number}",), (f"y{number}",), kind, options(rng)))
    model = model_of(tmp_path, tensors, operators)
    graph = read_function(model.mod["main"], "tflite").graph
    tables = {op.inputs[0]: graph.constants[op.table][0] for op in graph.operators if isinstance(op, Lookup)}
    reference = run_reference(model.data, model.inputs, {port.name: VALUES[None] for port in model.inputs}, MICRO)
    for port, wanted in zip(model.inputs, reference.outputs, strict=True):
        assert (tables[port.name] == wanted.reshape(-1)).all(), port


def test_operators_on_tensors(tmp_path: Path) -> None:
    """By slices: differences, products and sums with constants, behind a table too, means, sums, linear resizes."""
    rng = np.random.default_rng(3)
    file = File(rng)
    for _ in range(1):
        file.write("SUB", file.inputs(2), (7, 6, 5), "Sub")
        file.write("MEAN", (*file.inputs(1), file.constant((1, 2))), (1, 1, 5), "Reducer", KeepDims=True)
        file.write("SUM", (*file.inputs(1), file.constant((2,))), (7, 1, 5), "Reducer", KeepDims=True)
        middle = file.write("HARD_SWISH", file.inputs(1), (7, 6, 5), "HardSwish", name="m")
        code = str(rng.choice(["ADD", "SUB", "MUL"]))
        file.write(code, (middle, file.channel_constant(5)), (7, 6, 5), code.capitalize())
        swish = file.write("LOGISTIC", file.inputs(1), (7, 6, 5), name="m", code=(1 / 256, -128))
        file.write("MUL", (swish, file.latest_input()), (7, 6, 5), "Mul")
    file.write("MEAN", (*file.inputs(1, scale=1e-9), file.constant((1, 2))), (1, 1, 5), "Reducer", KeepDims=True)
    for size, options in (((14, 12), {"HalfPixelCenters": True}), ((21, 10), {}), ((3, 17), {"AlignCorners": True})):
        file.resize(size, options)
    model = model_of(tmp_path, file.tensors, file.operators)
    options = PlanOptions(rounding="tflite")
    compiled = compile_model(model, options)
    kinds = Counter(type(op) for op in read_function(model.mod["main"], "tflite").graph.operators)
    assert kinds == {Binary: 2, Pool: 3, Lookup: 2, Resize: 3}
    result, agreements = verify_tflite(model, compiled, options, inputs=4)
    assert agreements.runtime == "tflite-micro"
    assert result.passed, agreements
    assert agreements.owned["tvm"].equal_share < 1


class File:
    """Tensors and operators of a file under way."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.tensors: list[TensorSpec] = []
        self.operators: list[OperatorSpec] = []

    def inputs(self, count: int, scale: float | None = None) -> tuple[str, ...]:
        codes = [encoding(self.rng) for _ in range(count)]
        return tuple(self._tensor("x", (7, 6, 5), (scale or code[0], code[1])) for code in codes)

    def latest_input(self) -> str:
        return next(t.name for t in reversed(self.tensors) if t.name[0] == "x")

    def constant(self, values: Sequence[int]) -> str:
        self.tensors.append(TensorSpec(f"c{len(self.tensors)}", (len(values),), "int32", np.array(values, np.int32)))
        return self.tensors[-1].name

    def channel_constant(self, channels: int) -> str:
        data = self.rng.integers(-128, 128, (1, 1, 1, channels)).astype(np.int8)
        return self._tensor("c", data.shape[1:], encoding(self.rng), data)

    def write(
        self,
        operator: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        kind: str = "",
        *,
        name: str = "y",
        code: Encoding | None = None,
        **options: Any,
    ) -> str:
        output = self._tensor(name, shape, code or encoding(self.rng))
        self.operators.append(OperatorSpec(operator, tuple(inputs), (output,), kind, options))
        return output

    def resize(self, size: tuple[int, int], options: dict[str, bool]) -> None:
        (data,) = self.inputs(1)
        code = self.tensors[-1].scales[0], self.tensors[-1].zero_points[0]
        inputs = data, self.constant(size)
        self.write("RESIZE_BILINEAR", inputs, (*size, 5), "ResizeBilinear", code=code, **options)

    def _tensor(self, kind: str, shape: Sequence[int], code: Encoding, data: Any = None) -> str:
        self.tensors.append(tensor(f"{kind}{len(self.tensors)}", (1, *shape), code, data))
        return self.tensors[-1].name
