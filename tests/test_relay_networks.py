"""The Relay reader on whole networks, held against stock TVM in every tensor that leaves what the reader owns."""

from __future__ import annotations

import numpy as np
import pytest
from model_files import shared_model
from relay_readings import assert_exact

from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.frontend.tflite_model import load_model

# Inputs to run. The other networks there are verified whole by test_models.py; running the large one costs a minute.
RUNS = {
    "hello_world_int8": 2,
    "micro_speech_quantized": 2,
    "mobilenet_v1_0.25_128_quant": 1,
    "mobilenet_v2_1.0_224_ptq": 0,
}


@pytest.mark.parametrize("name", RUNS)
def test_network_is_exact(name: str) -> None:
    func = load_model(shared_model(name)).mod["main"]
    found = read_function(func)
    defined, count = define_shifts(func)
    assert found.undefined_shift_channels == count
    reading = read_function(defined)
    assert (reading.graph.operators, reading.undefined_shift_channels) == (found.graph.operators, 0)
    for key, value in reading.graph.constants.items():
        np.testing.assert_array_equal(value, found.graph.constants[key])
    if RUNS[name]:
        assert_exact(defined, reading, seeds=range(RUNS[name]))
