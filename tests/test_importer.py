"""What TensorFlow's converter of today writes and TVM 0.19 does not read by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite
from tensorflow_run import tensorflow_script, tflite_outputs

from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.options import PlanOptions
from tvm_pex.verification.verify import reference_outputs, verify


@pytest.mark.parametrize(("activation", "shape"), [("linear", (40,)), ("relu6", (6, 10))])
def test_dense_with_a_scale_for_each_channel(tmp_path: Path, activation: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "dense.tflite"
    tensorflow_script(Path(__file__).with_name("dense_model.py"), activation, *map(str, shape), path)
    graph = tflite.Model.GetRootAsModel(path.read_bytes(), 0).Subgraphs(0)
    assert 24 in [graph.Tensors(index).Quantization().ScaleLength() for index in range(graph.TensorsLength())]
    model = load_model(path)
    (port,) = model.inputs
    samples = np.random.default_rng(1).integers(-128, 128, (20, 1, *shape)).astype(port.dtype)
    (answer,) = reference_outputs(model, {port.name: samples}).values()
    stock = answer.astype(int)
    # TVM rounds once where TFLite's reference kernels may round twice
    assert np.abs(stock - tflite_outputs(path, samples)).max() <= 1
    assert np.ptp(stock) > 50
    assert verify(model, compile_model(model, PlanOptions()), inputs=5).passed
