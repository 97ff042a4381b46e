"""Networks over a stream of rows: the same bits as on each window alone, for less."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import OWN, shared_model
from relay_forms import add, average, convolution, dense, random, source
from test_cli import tvm_pex
from test_quantized_io import model_of, numbers, quantise

from tvm_pex._tvm import relay
from tvm_pex.continuous import compile_continuous
from tvm_pex.frontend.tflite_model import Model
from tvm_pex.frontend.windows import NothingMovesOn, split_windows
from tvm_pex.options import PlanOptions
from tvm_pex.verification.continuous import verify_continuous

BANDS = 10
ROWS = 24


def spectrogram(rows: int = ROWS) -> Any:
    return source(1, rows, BANDS, 1)


def classifier(data: Any, rows: int, columns: int, channels: int) -> Model:
    pooled = average(data, pool_size=(rows, columns), strides=(rows, columns))
    return model_of(dense(relay.reshape(pooled, (1, channels)), random(3, channels)))


def valid(data: Any, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, seed: int = 0) -> Any:
    """A convolution that pads bands alone."""
    weights = random(kernel, 3, inputs, outputs, seed=seed)
    return convolution(data, weights, strides=(stride, 1), padding=(0, 1, 0, 1), seed=seed)


def listener() -> Model:
    """Rows of x: 24, 11 (stride 2), 9; then a convolution that pads rows, and a pool over everything."""
    layer = valid(valid(spectrogram(), 1, 4, 4, 2), 4, 4, seed=1)
    layer = convolution(layer, random(3, 3, 4, 4, seed=2), padding=(1, 1, 1, 1))
    return classifier(layer, 9, BANDS, 4)


def stream(rows: int, *shape: int, dtype: str = "int8") -> np.ndarray:
    generator = np.random.default_rng(rows)
    if dtype == "float32":
        return generator.normal(0, 8, (rows, *shape)).astype(np.float32)
    return generator.integers(-128, 128, (rows, *shape), np.int8)


@pytest.mark.parametrize("hop", [2, 6, 10, 24])
def test_windows_are_exact_and_cheaper(hop: int) -> None:
    compiled = compile_continuous(listener(), hop)
    split = compiled.split
    assert (split.moving, split.fixed[0]) == (("conv0", "conv1"), "conv2")
    assert (split.cut_rows, split.stride, split.reason) == (9, 2, "it pads rows")
    result = verify_continuous(compiled, stream(700, BANDS, 1), seed=hop, sanitize=True)  # rings come round many times
    assert result.exact
    assert result.windows == (700 - ROWS) // hop + 1
    assert compiled.hop_instructions < compiled.window_instructions or hop == ROWS


def test_kernels_in_c_take_part() -> None:
    compiled = compile_continuous(listener(), 4, PlanOptions(core="cortex-m4"))
    assert verify_continuous(compiled, stream(300, BANDS, 1)).exact


def test_a_residual_and_floats_that_are_quantised_at_the_row() -> None:
    x = quantise(numbers(shape=(1, ROWS, BANDS, 2)))
    first = convolution(x, random(1, 3, 2, 4), padding=(0, 1, 0, 1))
    skip = convolution(first, random(1, 1, 4, 4, seed=3))
    layer = average(add(first, skip), pool_size=(2, 2), strides=(2, 2))
    compiled = compile_continuous(classifier(layer, 12, BANDS // 2, 4), 6)
    assert compiled.split.fixed[0].startswith("pool")
    assert verify_continuous(compiled, stream(200, BANDS, 2, dtype="float32")).exact


def reason(model: Model, hop: int) -> str:
    with pytest.raises(NothingMovesOn) as caught:
        split_windows(model, hop)
    return str(caught.value)


def test_what_cannot_move_on_is_told() -> None:
    padded = convolution(spectrogram(), random(3, 3, 1, 4), padding=(1, 1, 1, 1))
    assert "it pads rows" in reason(classifier(padded, ROWS, BANDS, 4), 4)
    assert "its rows are 2 apart, and the hop is 3" in reason(listener(), 3)
    assert "a hop has 1 to 24" in reason(listener(), 25)
    two = model_of(relay.Tuple([valid(spectrogram(), 1, 4), valid(source(1, ROWS, BANDS, 1, name="y"), 1, 4)]))
    assert "2 inputs" in reason(two, 4)


def test_the_cut_is_where_everything_goes_through_one_tensor() -> None:
    first = valid(spectrogram(), 1, 4)
    padded = convolution(first, random(3, 3, 4, 4), padding=(1, 1, 1, 1))
    onward = valid(first, 4, 4, kernel=1, seed=5)
    split = split_windows(classifier(add(padded, onward), ROWS - 2, BANDS, 4), 4)
    assert split.moving == ("conv0",)


def test_the_commands(tmp_path: Path) -> None:
    model, options = shared_model("str_ww_ref_model"), ("--stream-input", "--hop", "4")
    report = json.loads(tvm_pex("plan", "--json", *options, model).stdout)
    assert (report["window_rows"], report["hop"]) == (30, 4)
    assert report["hop_instructions"] < report["window_instructions"] / 4
    assert "dense8" in report["once_for_each_window"]
    verified = json.loads(tvm_pex("verify", "--json", "--inputs", "30", *options, model).stdout)
    assert (verified["exact"], verified["windows"]) == (True, 30)
    assert verified["memory_bytes"] == report["memory_bytes"]
    assert tvm_pex("compile", *options, model, "-o", tmp_path / "out.tar").returncode == 0
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert "./codegen/host/include/tvmgen_default_continuous.h" in archive.getnames()


def test_what_the_commands_refuse() -> None:
    for command, *options in (
        ("plan", "--hop", "4"),
        ("plan", "--stream-input", "--hop", "4", "--ram", "64k"),
        ("run", "--stream-input", "--hop", "4"),
        ("plan", "--stream-input", "--hop", "4"),  # its first convolution pads rows
    ):
        done = tvm_pex(command, *options, OWN)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
