"""Runs a .tflite file by TensorFlow Lite's reference kernels: a process of its own, for it may abort.

``python -m tvm_pex.benchmark.interpreter_process KIND MODEL.tflite INPUTS.npz OUTPUTS.npz``; KIND is ``tflm`` or
``tflite``. The files hold arrays of shape (runs, ...), one for each input or output in the model's order, named by
numbers. What the interpreter says about its memory goes to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def tflm(path: str) -> Callable[[list[Any]], list[Any]]:
    """By TFLite Micro; its allocations are printed at once. It has no call that tells how many outputs there are."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(path)
    interpreter.print_allocations()

    def run(inputs: list[Any]) -> list[Any]:
        for index, values in enumerate(inputs):
            interpreter.set_input(values.reshape(interpreter.get_input_details(index)["shape"]), index)
        interpreter.invoke()
        outputs: list[Any] = []
        while True:
            try:
                outputs.append(np.array(interpreter.get_output(len(outputs))))
            except IndexError:
                return outputs

    return run


def tflite(path: str) -> Callable[[list[Any]], list[Any]]:
    """By TensorFlow Lite's interpreter with its reference kernels."""
    import tensorflow as tf  # type: ignore[import-untyped]

    kernels = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(path, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()

    def run(inputs: list[Any]) -> list[Any]:
        for port, values in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(port["index"], values.reshape(port["shape"]))
        interpreter.invoke()
        return [interpreter.get_tensor(port["index"]).copy() for port in interpreter.get_output_details()]

    return run


def main() -> None:
    kind, model, inputs, outputs = sys.argv[1:]
    run = {"tflm": tflm, "tflite": tflite}[kind](model)
    with np.load(inputs) as ports:
        arrays = [ports[name] for name in ports.files]
    runs = [run([array[number] for array in arrays]) for number in range(len(arrays[0]))]
    answers = {str(index): np.stack(values) for index, values in enumerate(zip(*runs, strict=True))}
    np.savez(outputs, **answers)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
