"""The network of apps/fashion_mnist as a Keras model, to be pruned without training it again.

Its int8 file has the convolutions' weights with batch normalisation folded in. Here each gets its normalisation back:
with the mean and the deviation that its results have on training images, which change nothing now and are what
fine-tuning expects. The file was trained on all training images: those of validation are no judge of this network.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import tflite

from tvm_pex.cli.planning import check_output
from tvm_pex.cli.prune import errors, progress
from tvm_pex.codesign.data import DEFAULT, load
from tvm_pex.codesign.training import accuracy, tensorflow
from tvm_pex.frontend.tflite_checks import operator_code

SAMPLES = 2000
OPERATORS, TYPES = tflite.BuiltinOperator, tflite.TensorType
AXES = {
    OPERATORS.CONV_2D: (1, 2, 3, 0),
    OPERATORS.DEPTHWISE_CONV_2D: (1, 2, 3, 0),
    OPERATORS.FULLY_CONNECTED: (1, 0),
}
"""From TFLite's to Keras'."""
DTYPES = {TYPES.INT8: np.int8, TYPES.INT32: np.int32}

Array = npt.NDArray[Any]


def weights_of(content: bytes) -> list[tuple[Array, Array]]:
    """Kernel and bias of each layer that has them, in the order in which they run."""
    model = tflite.Model.GetRootAs(content)
    graph = model.Subgraphs(0)

    def real(index: int) -> Array:
        tensor = graph.Tensors(index)
        given, shape = tensor.Quantization(), tensor.ShapeAsNumpy()
        scales, along = given.ScaleAsNumpy(), np.ones(len(shape), int)
        along[given.QuantizedDimension()] = len(scales)
        values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(DTYPES[tensor.Type()])
        return np.asarray(values.reshape(shape) * scales.reshape(along))

    found = []
    for op in (graph.Operators(at) for at in range(graph.OperatorsLength())):
        code = operator_code(model, op)
        if code in AXES:
            _, kernel, bias = op.InputsAsNumpy()
            found.append((real(kernel).transpose(AXES[code]), real(bias)))
    return found


def restore(tf: Any, model: Any, weights: list[tuple[Array, Array]], images: Array) -> None:
    """Weights into ``model``, whose layers run in the order of ``weights``."""
    weighed = [layer for layer in model.layers if hasattr(layer, "kernel")]
    norms = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    for layer, (kernel, bias) in zip(weighed, weights, strict=True):
        layer.set_weights([kernel.reshape(layer.kernel.shape), *([bias] if layer.use_bias else [])])
    biases = [bias for layer, (_, bias) in zip(weighed, weights) if not layer.use_bias]
    for norm, bias in zip(norms, biases, strict=True):
        ones = np.ones_like(bias)
        norm.set_weights([ones * np.sqrt(1 + norm.epsilon), bias, 0 * ones, ones])
    results = tf.keras.Model(model.inputs, [norm.input for norm in norms]).predict(images, 100, verbose=0)
    for norm, bias, result in zip(norms, biases, results, strict=True):
        mean, variance = result.mean(axis=(0, 1, 2)), result.var(axis=(0, 1, 2))
        norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path, exists=True), metavar="FASHION_MNIST.tflite")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.keras")
def main(file: Path, output: Path) -> None:
    """Write the network of apps/fashion_mnist as a .keras file."""
    check_output(output, "-o")
    with errors(), progress() as step:
        step("loading TensorFlow", None, None)
        tf = tensorflow()
        from networks import clothes

        model = clothes()
        step("reading the data", None, None)
        data = load(DEFAULT, model.input_shape[1:])
        step("measuring", None, None)
        restore(tf, model, weights_of(file.read_bytes()), data.train.inputs[:SAMPLES])
        model.save(output)
        share = accuracy(model, data.test)
    click.echo(f"{output}: {100 * share:.2f} % of {len(data.test):,} test samples")


if __name__ == "__main__":
    sys.exit(main())
