"""The main job on real images: memory before and after, exactness against stock TVM, accuracy of the compiled C.

usage: demo.py [--images N]    N of the 10,000 test images, all by default
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from data import load

from tvm_pex import _tvm
from tvm_pex.compiler import compile_model
from tvm_pex.host_run import FLAGS, compile_host, run_host
from tvm_pex.tflite_model import load_model
from tvm_pex.verify import reference_build, verify

HERE = Path(__file__).parent
FAST = (*FLAGS, "-O3", "-march=native")


def main() -> int:
    """Prints what it finds; 0 when the compiled network is the same function as stock TVM's, 1 when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, metavar="N")
    count = parser.parse_args().images
    _tvm.silence()
    model = load_model(HERE / "fashion_mnist.tflite")
    compiled = compile_model(model)
    report = compiled.report
    stock, _ = reference_build(model)
    stock_io = stock.workspace_bytes + report["input_bytes"] + report["output_bytes"]
    print(f"arena, layer by layer      {report['layer_by_layer_bytes']:>9,} bytes")
    print(f"arena, stock TVM           {stock_io:>9,} bytes (its workspace, the input and the output)")
    print(f"arena, tvm_pex             {report['arena_bytes']:>9,} bytes")
    print(f"multiply-accumulates       {report['executed_macs']:>9,} of {report['macs']:,}", flush=True)

    images, labels = load("test")
    images, labels = images[:count], labels[:count]
    (image,) = model.inputs
    inputs = {image.name: (images.astype(np.int16) - 128).astype(np.int8).reshape(len(labels), *image.shape)}
    with tempfile.TemporaryDirectory() as folder:
        ours = run_host(
            compile_host(compiled.build, Path(folder) / "pex", flags=FAST),
            inputs,
            arena_bytes=compiled.arena_bytes,
            input_offsets=compiled.input_offsets,
            output_offsets=compiled.output_offsets,
        )
        program = compile_host(stock, Path(folder) / "stock", flags=FAST)
        theirs = run_host(program, inputs, arena_bytes=stock.workspace_bytes)
    (scores,), (expected,) = ours.outputs.values(), theirs.outputs.values()
    right = int((scores.reshape(len(labels), -1).argmax(axis=1) == labels).sum())
    same = int((scores == expected).reshape(len(labels), -1).all(axis=1).sum())
    random = verify(model, compiled)

    print(f"same outputs as stock TVM  {same:>9,} of {len(labels):,} test images")
    print(f"... on random and extreme  {'all' if random.exact else 'NOT all':>9} of {random.inputs} inputs")
    print(f"guard bytes intact         {'yes' if ours.guard_intact and random.guard_intact else 'NO':>9}")
    print(f"accuracy of the compiled C {100 * right / len(labels):>8.2f} %")
    if len(labels) == 10_000:
        told = json.loads((HERE / "accuracy.json").read_text())["int8_accuracy"]
        print(f"accuracy of the .tflite    {100 * told:>8.2f} % (accuracy.json, by TensorFlow Lite)")
    return 0 if same == len(labels) and random.passed and ours.guard_intact else 1


if __name__ == "__main__":
    raise SystemExit(main())
