"""Reading .tflite files: what a good one becomes, and that every bad one ends in one line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tflite
from model_files import OWN, shared_model

from tvm_pex.frontend.tflite_model import ModelError, Port, load_model


def test_own_model() -> None:
    model = load_model(OWN)
    assert model.name == "fashion_mnist"
    (image,), (scores,) = model.inputs, model.outputs
    assert image.dtype == scores.dtype == "int8"
    assert image.scale is not None
    assert len(model.mod["main"].params) == 1  # the weights are bound


def test_ports_carry_quantisation() -> None:
    model = load_model(shared_model("kws_ref_model"))
    assert model.inputs == (Port("input_1", (1, 49, 10, 1), "int8", pytest.approx(0.5847, abs=1e-4), 83),)
    assert model.outputs == (Port("Identity", (1, 12), "int8", 1 / 256, -128),)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_not_a_model(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty", tmp_path / "text"
    empty.touch()
    text.write_text("This is not a model, although it is long enough.")
    assert "no such file" in refusal(tmp_path / "missing")
    assert "is a directory" in refusal(tmp_path)
    assert "empty" in refusal(empty)
    assert "TFL3" in refusal(text)


def test_truncated_anywhere(tmp_path: Path) -> None:
    whole = OWN.read_bytes()
    used = len(whole.rstrip(b"\0"))  # a file may end in padding
    part = tmp_path / "part.tflite"
    for length in [*range(64), *range(64, used, used // 150), used - 1]:
        part.write_bytes(whole[:length])
        assert any(word in refusal(part) for word in ("damaged or truncated", "empty", "TFL3")), length


def test_damaged_bytes_raise_nothing_else(tmp_path: Path) -> None:
    whole = OWN.read_bytes()
    part = tmp_path / "damaged.tflite"
    for at in range(8, 2048, 16):
        part.write_bytes(whole[:at] + b"\xff\x7f" + whole[at + 2 :])
        with contextlib.suppress(ModelError):  # the damage may lie where nobody reads
            load_model(part)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"inputs": 0}, "0 inputs"),
        ({"subgraphs": 2}, "2 subgraphs"),
        ({"signature": (1, -1, -1, 3)}, "dynamic shape"),
        ({"operator": tflite.BuiltinOperator.UNIQUE}, "UNIQUE"),
        ({"operator": tflite.BuiltinOperator.CUSTOM}, "my_operator"),
    ],
)
def test_unsupported(model: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model(**model))  # type: ignore[arg-type]
    assert said in refusal(path)


def test_open_batch_is_one(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model(signature=(-1, 4, 4, 3)))
    assert load_model(path).inputs == (Port("x", (1, 4, 4, 3), "float32"),)


def tiny_model(
    operator: int = tflite.BuiltinOperator.RELU,
    signature: tuple[int, ...] = (1, 4, 4, 3),
    inputs: int = 1,
    subgraphs: int = 1,
) -> bytes:
    """A flatbuffer of one operator from tensor x to tensor y."""
    builder = flatbuffers.Builder()
    graphs = [_graph(builder, signature, inputs) for _ in range(subgraphs)]
    custom = builder.CreateString("my_operator")
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddBuiltinCode(builder, operator)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(operator, 127))
    tflite.OperatorCodeAddCustomCode(builder, custom)
    codes = _tables(builder, [tflite.OperatorCodeEnd(builder)])
    tflite.BufferStart(builder)
    buffers = _tables(builder, [tflite.BufferEnd(builder)])
    subgraph_vector = _tables(builder, graphs)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, subgraph_vector)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _graph(builder: flatbuffers.Builder, signature: tuple[int, ...], inputs: int) -> int:
    tensors = _tables(builder, [_tensor(builder, name, signature) for name in ("x", "y")])
    zero, one = builder.CreateNumpyVector(_ints(0)), builder.CreateNumpyVector(_ints(1))
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, 0)
    tflite.OperatorAddInputs(builder, zero)
    tflite.OperatorAddOutputs(builder, one)
    operators = _tables(builder, [tflite.OperatorEnd(builder)])
    ports = builder.CreateNumpyVector(_ints(*range(inputs)))
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, ports)
    tflite.SubGraphAddOutputs(builder, one)
    tflite.SubGraphAddOperators(builder, operators)
    return int(tflite.SubGraphEnd(builder))


def _tensor(builder: flatbuffers.Builder, name: str, signature: tuple[int, ...]) -> int:
    label = builder.CreateString(name)
    shape = builder.CreateNumpyVector(_ints(*(max(extent, 1) for extent in signature)))
    open_shape = builder.CreateNumpyVector(_ints(*signature))
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddShapeSignature(builder, open_shape)
    tflite.TensorAddName(builder, label)
    return int(tflite.TensorEnd(builder))


def _ints(*values: int) -> object:
    return np.array(values, np.int32)


def _tables(builder: flatbuffers.Builder, tables: list[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
