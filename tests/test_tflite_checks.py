"""What is wrong with a file that does not fit together is told in a user's words, one line for each rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_models import SMALL_MODELS
from tflite_writer import OperatorSpec, TensorSpec, model_bytes

from tvm_pex._tvm import relay
from tvm_pex.frontend.reader import read_function
from tvm_pex.frontend.tflite_model import ModelError, load_model

X = TensorSpec("x", (1, 4), "int8", None, (0.1,), (0,))
Y = TensorSpec("y", (1, 4), "int8", None, (0.1,), (0,))
Z = dataclasses.replace(Y, name="z")
RELU = OperatorSpec("RELU", ("x",), ("y",))


def refusal(folder: Path, data: bytes) -> str:
    path = folder / "model.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_the_small_models_are_fine(tmp_path: Path) -> None:
    for name, make in SMALL_MODELS.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(make())
        assert load_model(path).name == name


def changed(tensor: TensorSpec, **values: object) -> tuple[TensorSpec, ...]:
    return tuple(dataclasses.replace(t, **values) if t is tensor else t for t in (X, Y))  # type: ignore[arg-type]


CONSTANT = TensorSpec("w", (1, 4), "int8", np.zeros(3, np.int8), (0.1,), (0,))


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (changed(X, shape=(1, -4)), "tensor x has a negative extent: [1, -4]"),
        (changed(Y, shape=(1,) * 9), "tensor y has 9 dimensions; at most 8 are supported"),
        (changed(X, shape=(1, 50000, 50000)), "tensor x has 2500000000 bytes: INT8[1, 50000, 50000]; fewer than"),
        (changed(X, scales=(0.0,)), "tensor x has a scale of 0, which has no inverse"),
        (changed(X, scales=(1e-44,)), "tensor x has a scale of 9.80909e-45, which has no inverse"),
        (changed(X, scales=(float("nan"),)), "tensor x has a scale that is negative or no number"),
        (changed(X, zero_points=(200,)), "tensor x has a zero point that INT8 cannot hold"),
        (changed(X, zero_points=()), "tensor x has 1 scales and 0 zero points"),
        (changed(X, scales=(1.0, 1.0, 1.0), zero_points=(0, 0, 0), axis=1), "tensor x has 3 scales along axis 1"),
        (changed(X, name=""), "has an input or output without a name: tensor 0"),
        (changed(X, data=np.zeros(4, np.int8)), "input x is a constant"),
        (changed(Y, data=np.zeros(4, np.int8)), "operator 0 (RELU) writes tensor y, which has a value already"),
    ],
)
def test_tensors(tensors: tuple[TensorSpec, ...], reason: str, tmp_path: Path) -> None:
    first, last = tensors
    operator = OperatorSpec("RELU", (first.name,), (last.name,))
    assert refusal(tmp_path, model_bytes(tensors, [operator], [first.name], [last.name])).startswith(reason)


@pytest.mark.parametrize(
    ("operators", "reason"),
    [
        ([OperatorSpec("RELU", ("z",), ("y",))], "operator 0 (RELU) reads tensor z, which nothing before it"),
        ([RELU, RELU], "operator 1 (RELU) writes tensor y, which has a value already"),
        ([OperatorSpec("RELU", ("z",), ("y",)), OperatorSpec("RELU", ("y",), ("z",))], "operator 0 (RELU) reads"),
        ([OperatorSpec("RELU", ("x",), ("z",))], "output y is computed by no operator"),
        ([OperatorSpec("RELU", ("x",), ())], "operator 0 (RELU) writes no tensor"),
        ([OperatorSpec("ADD", ("x", "w"), ("y",))], "tensor w has 3 bytes of data; INT8[1, 4] takes 4"),
        ([OperatorSpec("CUSTOM", ("x",), ("y",))], "TVM cannot import custom operators: (unnamed)"),
        ([OperatorSpec("UNIQUE", ("x",), ("y",))], "TVM cannot import it: The following operators are not supported"),
        ([OperatorSpec("PACK", ("x",), ("y",))], "TVM cannot import PACK, which makes y: assert op.Builtin"),
        (
            [OperatorSpec("CONV_2D", ("x", "x"), ("y",), "Conv2D", {"StrideH": 1, "StrideW": 0})],
            "operator 0 (CONV_2D) has StrideW 0",
        ),
    ],
)
def test_operators(operators: list[OperatorSpec], reason: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, model_bytes([X, Y, Z, CONSTANT], operators, ["x"], ["y"])).startswith(reason)


def test_a_stride_of_zero_in_a_constant(tmp_path: Path) -> None:
    """TVM would divide by it, in C++."""
    places = [
        TensorSpec(name, (2,), "int32", np.array(v, np.int32)) for name, v in zip("bes", ([0, 0], [1, 4], [1, 0]))
    ]
    operator = OperatorSpec("STRIDED_SLICE", ("x", *"bes"), ("y",), "StridedSlice")
    reason = refusal(tmp_path, model_bytes([X, Y, *places], [operator], ["x"], ["y"]))
    assert reason == "operator 0 (STRIDED_SLICE) has a stride of 0"


def test_slices_that_are_empty(tmp_path: Path) -> None:
    """Behind the tensor's end: an operator after it may divide by its extent."""
    places = [
        TensorSpec(name, (2,), "int32", np.array(v, np.int32)) for name, v in zip("bes", ([0, 9], [1, 4], [1, 1]))
    ]
    operator = OperatorSpec("STRIDED_SLICE", ("x", *"bes"), ("y",), "StridedSlice")
    reason = refusal(tmp_path, model_bytes([X, Y, *places], [operator], ["x"], ["y"]))
    assert reason == "its windows do not fit: TVM makes a tensor of shape [1, 0]"


@pytest.mark.parametrize("axes", [(1, 1), (1, -1)])
def test_axes_named_twice(axes: tuple[int, int], tmp_path: Path) -> None:
    """TVM's type relation reads beyond a vector then, and ends the process."""
    tensors = [X, dataclasses.replace(Y, shape=(1,)), TensorSpec("a", (2,), "int32", np.array(axes, np.int32))]
    operator = OperatorSpec("MEAN", ("x", "a"), ("y",), "Reducer", {"KeepDims": False})
    assert refusal(tmp_path, model_bytes(tensors, [operator], ["x"], ["y"])) == "operator 0 (MEAN) names an axis twice"


def test_outputs_of_constants_alone(tmp_path: Path) -> None:
    constant = dataclasses.replace(CONSTANT, data=np.zeros(4, np.int8))
    data = model_bytes([X, Y, constant], [OperatorSpec("ADD", ("w", "w"), ("y",), "Add")], ["x"], ["y"])
    assert refusal(tmp_path, data) == "its outputs depend on none of its inputs"


def test_ports_named_twice(tmp_path: Path) -> None:
    assert refusal(tmp_path, model_bytes([X, Y], [RELU], ["x", "x"], ["y"])) == "names one of its inputs twice"
    assert refusal(tmp_path, model_bytes([X, Y], [RELU], ["x"], ["y", "y"])) == "names one of its outputs twice"


def test_windows_that_do_not_fit(tmp_path: Path) -> None:
    """TVM's type checker makes negative extents of them, two of which are a positive number of elements."""
    tensors = [TensorSpec("x", (1, 4, 4, 1)), TensorSpec("y", (1, 1, 1, 1))]
    options = {"Padding": 1, "StrideH": 1, "StrideW": 1, "FilterHeight": 9, "FilterWidth": 9}
    operator = OperatorSpec("MAX_POOL_2D", ("x",), ("y",), "Pool2D", options)
    reason = refusal(tmp_path, model_bytes(tensors, [operator], ["x"], ["y"]))
    assert reason == "its windows do not fit: TVM makes a tensor of shape [1, -4, -4, 1]"


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    tensors = [dataclasses.replace(X, name="first"), dataclasses.replace(Y, name="other")]
    data = model_bytes(tensors, [OperatorSpec("RELU", ("first",), ("other",))], ["first"], ["other"])
    reason = refusal(tmp_path, data.replace(b"other", b"first"))
    assert reason == "has 2 tensors of the name 'first', which TVM cannot tell apart"


def test_what_the_type_checker_says_is_told_and_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Shapes that do not go together are found by TVM's type checker, which prints what it finds unless it is asked."""
    wide = TensorSpec("v", (1, 3), "float32")
    tensors = [TensorSpec("x", (1, 4)), wide, TensorSpec("y", (1, 4))]
    reason = refusal(
        tmp_path, model_bytes(tensors, [OperatorSpec("ADD", ("x", "v"), ("y",), "Add")], ["x", "v"], ["y"])
    )
    assert reason.startswith("TVM cannot import it: ")
    assert "diagnostic" not in reason and ("broadcast" in reason or "dimensions" in reason)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("extent", "window", "reason"),
    [
        (20000, 3, "its tensor has 400000000 pixels, and schedules are made for up to 2097152"),
        (1400, 1501, "its windows read 2101400 rows or columns, and schedules are made for 2097152"),
    ],
)
def test_absurd_sizes_are_left_to_tvm(tmp_path: Path, extent: int, window: int, reason: str) -> None:
    """The search knows a time for each pixel: it would take hours, and more memory than there is."""
    path = tmp_path / "huge.tflite"
    tensors = [TensorSpec(name, (1, extent, extent, 1), "int8", None, (0.1,), (0,)) for name in "xy"]
    options = {"Padding": 0, "StrideH": 1, "StrideW": 1, "FilterHeight": window, "FilterWidth": window}
    path.write_bytes(model_bytes(tensors, [OperatorSpec("MAX_POOL_2D", "x", "y", "Pool2D", options)], "x", "y"))
    main = relay.transform.InferType()(load_model(path).mod)["main"]
    assert [refusal.reason for refusal in read_function(main).refused] == [reason]
