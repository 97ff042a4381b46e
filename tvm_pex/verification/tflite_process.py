"""Runs a .tflite file by TFLite's reference kernels: a process of its own, for TensorFlow and TVM bring an LLVM each.

``python tflite_process.py RUNTIME MODEL.tflite INPUTS.npz OUTPUTS.npz``. The files hold arrays of shape (runs, ...),
one for each input or output in the model's order. RUNTIME is ``tflite-micro`` or ``tensorflow``. Exit status 2: it is
not installed. TFLite Micro says on standard error what it allocated.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[list[Any]], list[Any]]


def tensorflow(path: str) -> Run:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    kernels = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(path, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()

    def run(inputs: list[Any]) -> list[Any]:
        for port, values in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(port["index"], values.reshape(port["shape"]))
        interpreter.invoke()
        return [interpreter.get_tensor(port["index"]) for port in interpreter.get_output_details()]

    return run


def tflite_micro(path: str) -> Run:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(path)
    interpreter.print_allocations()

    def outputs() -> Any:
        """Until there is no other: it has no call that tells how many."""
        for index in itertools.count():
            try:
                yield np.array(interpreter.get_output(index))
            except IndexError:
                return

    def run(inputs: list[Any]) -> list[Any]:
        for index, values in enumerate(inputs):
            interpreter.set_input(values.reshape(interpreter.get_input_details(index)["shape"]), index)
        interpreter.invoke()
        return list(outputs())

    return run


def main() -> int:
    runtime, path, given, taken = sys.argv[1:]
    try:
        run = {"tensorflow": tensorflow, "tflite-micro": tflite_micro}[runtime](path)
    except ImportError:
        return 2
    with np.load(given) as ports:
        arrays = [ports[name] for name in ports.files]
    runs = [run([array[number] for array in arrays]) for number in range(len(arrays[0]))]
    np.savez(taken, *(np.stack(values) for values in zip(*runs, strict=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
