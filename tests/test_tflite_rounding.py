"""Networks give the bytes of TFLite's reference kernels, which share no code with us."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tflite
from click.testing import CliRunner
from model_files import OWN, shared_model
from tensorflow_run import tensorflow_script

from tvm_pex.cli import main
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.options import PlanOptions
from tvm_pex.verification import tflite_reference
from tvm_pex.verification.tflite_agreement import tflite_agreements, verify_tflite
from tvm_pex.verification.tflite_file import ending_before
from tvm_pex.verification.tflite_reference import NoReference, run_reference
from tvm_pex.verification.verify import sample_inputs

COUNT = 6  # of networks, with a third for each of the cores
CORES = (None, "cortex-m4", "cortex-m55")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("networks")
    tensorflow_script(Path(__file__).with_name("tflite_networks.py"), folder, str(COUNT))
    return [folder / f"{number}.tflite" for number in range(COUNT)]


def test_random_networks(networks: list[Path]) -> None:
    """By slices; without the option some of them differ."""
    differ = 0
    for number, path in enumerate(networks):
        model, options = load_model(path), PlanOptions(core=CORES[number % 3], rounding="tflite")
        result, agreements = verify_tflite(model, compile_model(model, options), options, inputs=5, seed=number)
        assert result.passed, (path.name, agreements)
        assert agreements.owned["tflite"].equal_share == 1
        assert agreements.runtime == "tflite-micro"
        differ += agreements.owned["tvm"].equal_share < 1
    assert differ > 1


def test_tensorflow_agrees_but_for_dense_layers(networks: list[Path]) -> None:
    """Where they are the oracle, TensorFlow's kernels have to be the same as TFLite Micro's."""
    compared = 0
    for path in networks:
        data, (port,) = path.read_bytes(), load_model(path).inputs
        flat = tflite.Model.GetRootAsModel(data, 0)
        codes = [flat.OperatorCodes(index) for index in range(flat.OperatorCodesLength())]
        if any(code.BuiltinCode() == tflite.BuiltinOperator.FULLY_CONNECTED for code in codes) or compared == 2:
            continue
        samples = sample_inputs(load_model(path), 4, 0)
        one, other = (run_reference(data, [port], samples, [runtime]) for runtime in tflite_reference.RUNTIMES)
        assert all((a == b).all() for a, b in zip(one.outputs, other.outputs, strict=True))
        compared += 1
    assert compared == 2


def test_the_command_compares_what_lies_before_a_softmax() -> None:
    answer = CliRunner().invoke(
        main, ["verify", "--rounding", "tflite", "--axes", "layers", "--json", "--inputs", "4", str(OWN)]
    )
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.output)
    assert report["exact"] and report["guard_intact"] and report["max_abs_diff"] == 0
    of_tvm, of_tflite = (report["tflite"]["owned"][rounding] for rounding in ("tvm", "tflite"))
    assert of_tflite == {"equal_share": 1.0, "max_abs_diff": 0}
    assert of_tvm["equal_share"] < 1 and of_tvm["max_abs_diff"] > 0


def test_an_uint8_network() -> None:
    """For which TFLite Micro has no kernels."""
    model = load_model(shared_model("mobilenet_v1_0.25_128_quant"))
    agreements = tflite_agreements(model, PlanOptions(core="cortex-m4"), inputs=2)
    assert agreements.runtime == "tensorflow"
    assert agreements.owned["tflite"].equal_share == 1
    assert agreements.owned["tvm"].equal_share < 0.9


def test_a_file_that_ends_earlier() -> None:
    data = OWN.read_bytes()
    graph = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
    last = graph.Operators(graph.OperatorsLength() - 1)
    assert last.OutputsAsNumpy().tolist() == graph.OutputsAsNumpy().tolist()
    cut = tflite.Model.GetRootAsModel(ending_before(data, [0]), 0).Subgraphs(0)
    assert cut.OutputsAsNumpy().tolist() == last.InputsAsNumpy().tolist()[:1]
    with pytest.raises(ValueError, match="no operator computes"):
        ending_before(_ending_with_inputs(data), [0])


def _ending_with_inputs(data: bytes) -> bytes:
    while True:
        graph = tflite.Model.GetRootAsModel(data, 0).Subgraphs(0)
        inputs, outputs = graph.InputsAsNumpy().tolist(), graph.OutputsAsNumpy().tolist()
        computed = [position for position, tensor in enumerate(outputs) if tensor not in inputs]
        if not computed:
            return data
        data = ending_before(data, computed)


def test_a_missing_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text("import sys; sys.exit(2)")
    monkeypatch.setattr(tflite_reference, "_PROCESS", script)
    model = load_model(OWN)
    with pytest.raises(NoReference, match=r"tflite-micro is not installed .*rivals.*; tensorflow .*train") as caught:
        run_reference(model.data, model.inputs, sample_inputs(model, 1, 0))
    assert "\n" not in str(caught.value)


def test_a_float_port_of_the_file_takes_what_is_quantised_to_the_bytes(networks: list[Path]) -> None:
    path = next(path for path in networks if load_model(path).inputs[0].dtype == "float32")
    options = PlanOptions(axes=(), quantized_io=True, rounding="tflite")
    model = load_model(path)
    compiled = compile_model(model, options)
    assert [port.dtype for port in compiled.model.inputs] == ["int8"]
    result, _ = verify_tflite(model, compiled, options, inputs=6)
    assert result.passed and np.isclose(result.max_abs_diff, 0)
