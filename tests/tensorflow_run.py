"""TensorFlow in a process of its own: its LLVM and TVM's cannot be loaded into one.

As a script: ``python tensorflow_run.py MODEL SAMPLES.npy RESULT.npy`` runs TFLite's reference kernels.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}


def tensorflow_script(script: str | Path, *arguments: str | Path) -> None:
    """Run a Python script that imports TensorFlow. Raises AssertionError with what it printed when it fails."""
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **_QUIET}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def tflite_outputs(model: Path, samples: Any) -> Any:
    """What TFLite's reference kernels answer: an array (samples, *output) for the only output of ``model``."""
    given, result = model.with_suffix(".samples.npy"), model.with_suffix(".result.npy")
    np.save(given, samples)
    tensorflow_script(__file__, model, given, result)
    return np.load(result)


def _run(model: str, samples: str, result: str) -> None:
    import tensorflow as tf

    kernels = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_path=model, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    (port,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for sample in np.load(samples):
        interpreter.set_tensor(port["index"], sample)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(output["index"]))
    np.save(result, np.stack(outputs))


if __name__ == "__main__":
    _run(*sys.argv[1:])
