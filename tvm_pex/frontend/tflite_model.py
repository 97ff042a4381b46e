"""A .tflite file to a Relay module, or one clear line that says why not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tflite

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.importer import Importer
from tvm_pex.frontend.layer_by_layer import layer_by_layer_bytes

_IDENTIFIER = b"TFL3"
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
    """

    name: str
    mod: Any
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layer_by_layer_bytes: int | None = None
    quantised_layer_by_layer_bytes: int | None = None


def load_model(path: str | Path) -> Model:
    """Read a .tflite file. Raises ModelError for whatever is wrong with it."""
    path = Path(path)
    flat = _parse(path, _read(path))
    try:
        graph = _check(flat)
        quantisation = {tensor.Name().decode(): _quantisation(tensor) for tensor in _tensors(graph)}
        outputs = [graph.Tensors(index).Name().decode() for index in graph.OutputsAsNumpy()]
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except _DAMAGE:
        raise ModelError(f"{path}: damaged or truncated: a part of the model points outside the file") from None
    mod = _import(path, flat)
    main = mod["main"]
    kinds = main.ret_type.fields if isinstance(main.ret_type, tvm.ir.TupleType) else [main.ret_type]
    return Model(
        path.stem,
        mod,
        tuple(_port(p.name_hint, p.checked_type, quantisation) for p in main.params),
        tuple(_port(name, kind, quantisation) for name, kind in zip(outputs, kinds, strict=True)),
        layer_by_layer_bytes(flat),
        layer_by_layer_bytes(flat, quantised_io=True),
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


def _tensors(graph: Any) -> Iterator[Any]:
    return (graph.Tensors(index) for index in range(graph.TensorsLength()))


def _check(flat: Any) -> Any:
    """Visit every part that the importer reads, so that damage is found here. Gives the only subgraph."""
    for index in range(flat.BuffersLength()):
        flat.Buffers(index).DataAsNumpy()
    if flat.SubgraphsLength() != 1:
        raise ModelError(f"has {flat.SubgraphsLength()} subgraphs; only models with one are supported")
    graph = flat.Subgraphs(0)
    for tensor in _tensors(graph):
        _check_index(tensor.Buffer(), flat.BuffersLength())
        tensor.ShapeAsNumpy()
        tensor.Name().decode()
        _quantisation(tensor)
    custom = [_check_operator(flat, graph, graph.Operators(index)) for index in range(graph.OperatorsLength())]
    if any(custom):
        names = ", ".join(sorted({name for name in custom if name}))
        raise ModelError(f"TVM cannot import custom operators: {names}")
    if not graph.InputsLength() or not graph.OutputsLength():
        raise ModelError(f"has {graph.InputsLength()} inputs and {graph.OutputsLength()} outputs; needs one of each")
    for index in [*graph.InputsAsNumpy(), *graph.OutputsAsNumpy()]:
        _check_index(index, graph.TensorsLength())
    for index in graph.InputsAsNumpy():
        _check_static(graph.Tensors(index))
    return graph


def _check_index(index: int, length: int) -> None:
    if not 0 <= index < length:
        raise IndexError(index)


def _check_operator(flat: Any, graph: Any, operator: Any) -> str | None:
    """The name of a custom operator, None for a builtin one."""
    _check_index(operator.OpcodeIndex(), flat.OperatorCodesLength())
    for index in [*operator.InputsAsNumpy(), *operator.OutputsAsNumpy()]:
        _check_index(index + 1, graph.TensorsLength() + 1)  # -1: an optional input that is not given
    operator.BuiltinOptions()
    code = flat.OperatorCodes(operator.OpcodeIndex())
    if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) != tflite.BuiltinOperator.CUSTOM:
        return None
    name = code.CustomCode()
    return name.decode() if name else "(unnamed)"


def _check_static(tensor: Any) -> None:
    """A batch left open is taken as the 1 that the file's shape has; any other open extent is refused."""
    shape = tensor.ShapeAsNumpy()
    shape = [] if isinstance(shape, int) else shape.tolist()
    signature = shape if tensor.ShapeSignatureIsNone() else tensor.ShapeSignatureAsNumpy().tolist()
    if any(extent < 0 for extent in signature[1:]) or any(extent < 1 for extent in shape):
        raise ModelError(f"input {tensor.Name().decode()} has a dynamic shape: {signature}")


def _quantisation(tensor: Any) -> tuple[float, int] | None:
    """(scale, zero point) of a tensor quantised as a whole, else None."""
    parameters = tensor.Quantization()
    if parameters is None or parameters.ScaleLength() == 0:
        return None
    scales, zeros = parameters.ScaleAsNumpy(), parameters.ZeroPointAsNumpy()
    return (float(scales[0]), int(zeros[0])) if len(scales) == 1 and parameters.ZeroPointLength() == 1 else None


def _import(path: Path, flat: Any) -> Any:
    """TVM's importer reports a bad model in many ways: whatever it raises is about the file."""
    try:
        mod, parameters = relay.frontend.from_tflite(flat, op_converter=Importer)
        mod["main"] = relay.build_module.bind_params_by_name(mod["main"], parameters)
        return relay.transform.InferType()(mod)
    except Exception as error:
        raise ModelError(f"{path}: TVM cannot import it: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """The sentence of a TVM error: what follows its C++ stack, without line breaks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    noise = ("Stack trace", "Traceback", "File ")
    told = [line for line in lines if not line[0].isdigit() and not line.startswith(noise)]
    return " ".join(told)[:400] or f"{type(error).__name__} {error}"[:400]


def _port(name: Any, kind: Any, quantisation: dict[str, tuple[float, int] | None]) -> Port:
    scale, zero = quantisation.get(str(name)) or (None, None)
    return Port(str(name), tuple(int(extent) for extent in kind.shape), str(kind.dtype), scale, zero)
