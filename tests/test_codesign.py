"""Co-design: what needs Keras is in ``keras_codesign.py``, run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_files import ROOT
from tensorflow_run import tensorflow_script

from tvm_pex.codesign.network import arena_bytes, flash_bytes, layer_by_layer
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.graph import Convolution, Graph, graph_from_json
from tvm_pex.options import PlanOptions
from tvm_pex.scheduling.layers import layer_bytes

HERE = Path(__file__).parent


def test_on_keras_models() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "keras_codesign.py",
    ]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=HERE, env={**os.environ, **quiet}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_graphs_of_architectures_are_those_of_their_files(tmp_path: Path) -> None:
    seeds = "0", "1", "3", "padded", "line"
    tensorflow_script(HERE / "keras_files.py", tmp_path, *seeds)
    for number, seed in enumerate(seeds):
        said = graph_from_json((tmp_path / f"{seed}.json").read_text())
        overwrite = bool(number % 2)
        compiled = compile_model(load_model(tmp_path / f"{seed}.tflite"), PlanOptions(overwrite_input=overwrite))
        assert arena_bytes(said, overwrite) == compiled.arena_bytes
        assert said.macs() == compiled.report["macs"]
        assert layer_by_layer(said) == max(layer_bytes(compiled.graph).values())
        weights = sum(compiled.graph.constants[op.weights].size for op in convolutions(compiled.graph))
        channels = sum(len(compiled.graph.constants[op.scales]) for op in convolutions(compiled.graph))
        assert flash_bytes(said) == weights + 12 * channels


def convolutions(graph: Graph) -> list[Convolution]:
    return [op for op in graph.operators if isinstance(op, Convolution)]
