"""A .tflite file to a Relay module, or one clear line that says why not."""

from __future__ import annotations

import functools
import math
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tflite

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.importer import Importer
from tvm_pex.frontend.layer_by_layer import layer_by_layer_bytes
from tvm_pex.frontend.tflite_checks import LARGEST, Malformed, check_model, tensor_name

_IDENTIFIER = b"TFL3"
_LONGEST = 400  # characters of TVM's reasons
# What flatbuffers' and numpy's readers raise when an offset points outside the file.
_DAMAGE = (struct.error, ValueError, IndexError, TypeError, AttributeError, OverflowError, MemoryError)


class ModelError(Exception):
    """The file is not a model that can be worked on; the message is one line that starts with the path."""


@dataclass(frozen=True)
class Port:
    """A model input or output. ``scale`` and ``zero_point`` are None for a tensor that is not quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Model:
    """``mod`` is an IRModule with types inferred and parameters bound: its ``main`` takes ``inputs``, in this order.

    ``layer_by_layer_bytes`` is None for a module that does not come from a file, and so is
    ``quantised_layer_by_layer_bytes``: the same where the caller quantises float inputs and dequantises float outputs.
    ``data`` are the file's bytes, none for a module that does not come from a file.
    """

    name: str
    mod: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layer_by_layer_bytes: int | None = None
    quantised_layer_by_layer_bytes: int | None = None
    data: bytes = field(default=b"", repr=False)


def load_model(path: str | Path) -> Model:
    """Read a .tflite file. Raises ModelError for whatever is wrong with it."""
    path = Path(path)
    return parse_model(path, _read(path))


def parse_model(path: str | Path, data: bytes) -> Model:
    """A model of a file's bytes, which are or could be those of ``path``. Raises ModelError."""
    path = Path(path)
    flat = _parse(path, data)
    try:
        graph = check_model(flat)
        ports = [(tensor_name(graph, index), graph.Tensors(index)) for index in _ports_of(graph)]
        quantisation = {name: _quantisation(tensor) for name, tensor in ports}
        outputs = [tensor_name(graph, index) for index in graph.OutputsAsNumpy()]
    except Malformed as error:
        raise ModelError(f"{path}: {error}") from None
    except _DAMAGE:
        raise ModelError(f"{path}: damaged or truncated: a part of the model points outside the file") from None
    mod = _import(path, flat)
    main = mod["main"]
    _check_types(path, main)
    if not main.params:  # TVM's importer drops the inputs that no output depends on
        raise ModelError(f"{path}: its outputs depend on none of its inputs")
    kinds = main.ret_type.fields if isinstance(main.ret_type, tvm.ir.TupleType) else [main.ret_type]
    return Model(
        path.stem,
        mod,
        tuple(_port(p.name_hint, p.checked_type, quantisation) for p in main.params),
        tuple(_port(name, kind, quantisation) for name, kind in zip(outputs, kinds, strict=True)),
        layer_by_layer_bytes(flat),
        layer_by_layer_bytes(flat, quantised_io=True),
        data,
    )


def _read(path: Path) -> bytes:
    try:
        if not path.exists():
            raise ModelError(f"{path}: no such file")
        if not path.is_file():
            raise ModelError(f"{path}: is a {'directory' if path.is_dir() else 'device'}, not a file")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path}: cannot be read: {reason}") from None
    if not data:
        raise ModelError(f"{path}: the file is empty")
    if data[4:8] != _IDENTIFIER:
        raise ModelError(f"{path}: not a TensorFlow Lite model: the identifier TFL3 is missing")
    return data


def _parse(path: Path, data: bytes) -> Any:
    try:
        return tflite.Model.GetRootAsModel(data, 0)
    except _DAMAGE:
        raise ModelError(f"{path}: damaged or truncated: there is no root table") from None


def _quantisation(tensor: Any) -> tuple[float, int] | None:
    """(scale, zero point) of a tensor quantised as a whole, else None."""
    parameters = tensor.Quantization()
    if parameters is None or parameters.ScaleLength() == 0:
        return None
    scales, zeros = parameters.ScaleAsNumpy(), parameters.ZeroPointAsNumpy()
    return (float(scales[0]), int(zeros[0])) if len(scales) == 1 and parameters.ZeroPointLength() == 1 else None


class _NamingImporter(Importer):
    """Leaves in ``at`` the operator where it failed."""

    convert_map: dict[str, Callable[[Any], Any]]

    def __init__(self, at: list[str], *arguments: Any) -> None:
        super().__init__(*arguments)
        self.at = at
        self.convert_map = {code: self._named(code, convert) for code, convert in self.convert_map.items()}

    def _named(self, code: str, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(operator: Any) -> Any:
            self.at.append(f"{code}, which makes {tensor_name(self.subgraph, operator.Outputs(0))}")
            value = convert(operator)
            self.at.pop()
            return value

        return run


def _import(path: Path, flat: Any) -> Any:
    """TVM's importer reports what it does not know in many ways; whatever it raises is about the file.

    The file is whole, and fits together, when it comes here.
    """
    at: list[str] = []
    try:
        with _collected_diagnostics() as diagnostics:
            converter = functools.partial(_NamingImporter, at)
            mod, parameters = relay.frontend.from_tflite(flat, op_converter=converter)
            mod["main"] = relay.build_module.bind_params_by_name(mod["main"], parameters)
            return relay.transform.InferType()(mod)
    except Exception as error:
        what = at[0] if at else "it"
        said = " ".join(diagnostics) or _one_line(error)
        raise ModelError(f"{path}: TVM cannot import {what}: {said[:_LONGEST]}") from error


def _check_types(path: Path, main: Any) -> None:
    """What TVM makes of windows and sizes that do not fit their tensors: extents below 1, or without measure."""

    def visit(expr: Any) -> None:
        kind = getattr(expr, "_checked_type_", None)
        if isinstance(kind, tvm.ir.TensorType) and all(isinstance(n, tvm.tir.IntImm) for n in kind.shape):
            shape = [int(extent) for extent in kind.shape]
            if any(extent < (1 if isinstance(expr, relay.Call) else 0) for extent in shape):
                raise ModelError(f"{path}: its windows do not fit: TVM makes a tensor of shape {shape}")
            if math.prod(shape) * tvm.runtime.DataType(kind.dtype).bits > 8 * LARGEST:
                raise ModelError(f"{path}: TVM makes a tensor of {kind.dtype}{shape}, which is too large")

    relay.analysis.post_order_visit(main, visit)


@contextmanager
def _collected_diagnostics() -> Iterator[list[str]]:
    """Has TVM's type checker hand its messages over, which it prints else."""
    messages: list[str] = []

    def collect(context: Any) -> None:
        messages.extend(" ".join(str(diagnostic.message).split()) for diagnostic in context.diagnostics)

    tvm.ir.diagnostics.override_renderer(collect)
    try:
        yield messages
    finally:
        tvm.ir.diagnostics.override_renderer(None)


def _one_line(error: Exception) -> str:
    """The sentence of an error: of TVM's what follows the C++ stack, of an assertion without words its condition."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    noise = ("Stack trace", "Traceback", "File ")
    told = [line for line in lines if not line[0].isdigit() and not line.startswith(noise)]
    if isinstance(error, AssertionError) and not told:
        return str(traceback.extract_tb(error.__traceback__)[-1].line)
    return " ".join(told) or f"{type(error).__name__} {error}"


def _ports_of(graph: Any) -> list[int]:
    return [int(index) for index in (*graph.InputsAsNumpy(), *graph.OutputsAsNumpy())]


def _port(name: Any, kind: Any, quantisation: dict[str, tuple[float, int] | None]) -> Port:
    scale, zero = quantisation.get(str(name)) or (None, None)
    return Port(str(name), tuple(int(extent) for extent in kind.shape), str(kind.dtype), scale, zero)
