"""Networks whose activations have 16 bits and whose weights have 8, as TensorFlow's converter makes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow_run import tensorflow_script

from tvm_pex.compiler import compile_model
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.options import PlanOptions
from tvm_pex.verification.verify import reference_build, verify

COUNT = 6  # those of odd numbers have biases of int32, which TVM's importer does not read


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("networks")
    tensorflow_script(Path(__file__).with_name("tflite_networks.py"), folder, str(COUNT), "wide")
    return [folder / f"{number}.tflite" for number in range(COUNT)]


def test_all_but_softmax_is_read(networks: list[Path]) -> None:
    for path in networks:
        reading = read_function(load_model(path).mod["main"])
        assert {tensor.dtype for tensor in reading.graph.tensors.values()} == {"int16"}
        softmax = {"qnn.dequantize", "nn.softmax", "qnn.quantize"}
        assert {refusal.operator.split("#")[0] for refusal in reading.refused} <= softmax


@pytest.mark.parametrize("number", [3, 4])
def test_they_are_exact_and_take_less(networks: list[Path], number: int) -> None:
    """Less than layer by layer, and than one of stock TVM's plans."""
    model = load_model(networks[number])
    assert {port.dtype for port in (*model.inputs, *model.outputs)} == {"int16"}
    compiled = compile_model(model, PlanOptions(("rows", "pixels", "channels")))
    result = verify(model, compiled, inputs=3)
    assert result.exact and result.guard_intact
    reference, _ = reference_build(model, without=())
    stock = reference.workspace_bytes + sum(port.bytes for port in (*reference.inputs, *reference.outputs))
    assert compiled.arena_bytes < min(compiled.report["layer_by_layer_bytes"], stock)


def test_as_tflite_rounds_they_stay_with_tvm(networks: list[Path]) -> None:
    reading = read_function(load_model(networks[3]).mod["main"], "tflite")
    assert not reading.graph.operators
    assert any("--rounding tflite is for 8 bits" in refusal.reason for refusal in reading.refused)
