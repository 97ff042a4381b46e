"""Small .tflite files from a few lines: tensors and operators as a test names them, written field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

Array = npt.NDArray[Any]

TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int32": tflite.TensorType.INT32,
}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor; ``data`` makes it a constant. ``scales`` has one value, or one for each slice along ``axis``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: Array | None = None
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class OperatorSpec:
    """A builtin operator by its name in the schema; ``options`` are the fields of its table ``<kind>Options``."""

    code: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def model_bytes(
    tensors: Sequence[TensorSpec], operators: Sequence[OperatorSpec], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    """The file. Buffer 0 is empty, as the format wants it; constants follow in the order of ``tensors``."""
    builder = flatbuffers.Builder()
    numbers = {tensor.name: index for index, tensor in enumerate(tensors)}
    constants = [tensor for tensor in tensors if tensor.data is not None]
    places = {tensor.name: index + 1 for index, tensor in enumerate(constants)}
    codes = list(dict.fromkeys(operator.code for operator in operators))

    made = [_tensor(builder, tensor, places.get(tensor.name, 0)) for tensor in tensors]
    steps = [_operator(builder, operator, codes.index(operator.code), numbers) for operator in operators]
    buffers = [_buffer(builder, None), *(_buffer(builder, tensor.data) for tensor in constants)]
    operator_codes = [_code(builder, getattr(tflite.BuiltinOperator, code)) for code in codes]

    tensor_vector, operator_vector = _tables(builder, made), _tables(builder, steps)
    read, written = _ints(builder, [numbers[n] for n in inputs]), _ints(builder, [numbers[n] for n in outputs])
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_vector)
    tflite.SubGraphAddInputs(builder, read)
    tflite.SubGraphAddOutputs(builder, written)
    tflite.SubGraphAddOperators(builder, operator_vector)
    graphs = _tables(builder, [tflite.SubGraphEnd(builder)])
    code_vector, buffer_vector = _tables(builder, operator_codes), _tables(builder, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, code_vector)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffer_vector)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, tensor: TensorSpec, buffer: int) -> int:
    name, shape, quantisation = builder.CreateString(tensor.name), _ints(builder, tensor.shape), None
    if tensor.scales:
        scales = builder.CreateNumpyVector(np.array(tensor.scales, np.float32))
        zeros = builder.CreateNumpyVector(np.array(tensor.zero_points, np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.axis)
        quantisation = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, TYPES[tensor.dtype])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    if quantisation is not None:
        tflite.TensorAddQuantization(builder, quantisation)
    return int(tflite.TensorEnd(builder))


def _operator(builder: flatbuffers.Builder, operator: OperatorSpec, code: int, numbers: Mapping[str, int]) -> int:
    inputs = _ints(builder, [numbers.get(name, -1) for name in operator.inputs])
    outputs = _ints(builder, [numbers[name] for name in operator.outputs])
    options, table = None, f"{operator.kind}Options"
    if operator.kind:
        values = {
            key: _ints(builder, value) if isinstance(value, tuple) else value for key, value in operator.options.items()
        }
        getattr(tflite, f"{table}Start")(builder)
        for key, value in values.items():
            getattr(tflite, f"{table}Add{key}")(builder, value)
        options = getattr(tflite, f"{table}End")(builder)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, table))
        tflite.OperatorAddBuiltinOptions(builder, options)
    return int(tflite.OperatorEnd(builder))


def _buffer(builder: flatbuffers.Builder, data: Array | None) -> int:
    content = None if data is None else builder.CreateByteVector(np.ascontiguousarray(data).tobytes())
    tflite.BufferStart(builder)
    if content is not None:
        tflite.BufferAddData(builder, content)
    return int(tflite.BufferEnd(builder))


def _code(builder: flatbuffers.Builder, code: int) -> int:
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, 127))
    tflite.OperatorCodeAddVersion(builder, 1)
    return int(tflite.OperatorCodeEnd(builder))


def _ints(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _tables(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
