"""Networks whose input comes by rows: the same bits however it is pushed, defined errors, and what cannot come so."""

from __future__ import annotations

import ctypes
import itertools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import OWN, shared_model
from random_networks import random_network
from relay_forms import add, average, convolution, dense, random, source
from test_cli import tvm_pex
from test_quantized_io import model_of, numbers, quantise
from test_random_networks import FLAGS, RUNS, expected, run, with_odd_floats

from tvm_pex._tvm import relay, tvm
from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.streaming import NotStreamable
from tvm_pex.frontend.tflite_model import Model, load_model
from tvm_pex.lowering.aot import HEADERS, RUNTIME_HEADERS, SOURCES
from tvm_pex.microtvm.archive import metadata
from tvm_pex.microtvm.bare_metal.build import in_one_arena
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.options import PlanOptions
from tvm_pex.relay_pass import PexPartition
from tvm_pex.verification.firmware import Task, run_firmware
from tvm_pex.verification.verify import reference_outputs, sample_inputs, verify

STREAM = PlanOptions(stream_input=True)
ROWS, WIDTH, CHANNELS = 6, 5, 2
NOT_BEGUN, TOO_MANY_ROWS, TOO_EARLY, NO_ROWS = -1, -2, -3, -4
NETWORKS = 24
AXES = (("rows", "pixels", "channels"), ("rows", "pixels"), ("rows",))
CORES = (None, "cortex-m4", "cortex-m3", "cortex-m55", None)
NOT_BY_ROWS = (0, 2, 4, 5, 10, 11, 13, 15, 18, 19, 21)  # of one row, or of indices


def image(name: str = "x", rows: int = ROWS) -> Any:
    return source(1, rows, WIDTH, CHANNELS, name=name)


def small() -> Model:
    """3x3 of stride 2, 3x3, and a dense layer over all of it."""
    first = convolution(image(), random(3, 3, CHANNELS, 4), strides=(2, 1), padding=(1, 1, 1, 1))
    second = convolution(first, random(3, 3, 4, 3), padding=(1, 1, 1, 1))
    return model_of(dense(relay.reshape(second, (1, 3 * WIDTH * 3)), random(4, 3 * WIDTH * 3)))


class Stream:
    """The C interface, by ctypes: nothing of the project lies between the test and the C."""

    def __init__(self, model: Model, folder: Path, options: PlanOptions = STREAM) -> None:
        self.compiled = compile_model(model, options)
        build = self.compiled.build
        build.write(folder)
        sources = [str(folder / path) for path in build.files if path.startswith(SOURCES)]
        library = folder / "network.so"
        command = ["gcc", *FLAGS, "-shared", "-fPIC", f"-I{folder / HEADERS}", f"-I{folder / RUNTIME_HEADERS}"]
        subprocess.run([*command, *sources, "-o", str(library)], check=True)
        self.library = ctypes.CDLL(str(library))
        self.arena = np.zeros(max(self.compiled.arena_bytes, 1), np.uint8)
        self.output = np.zeros(build.outputs[0].shape, build.outputs[0].dtype)
        self.state = ctypes.create_string_buffer(b"\xa5" * 256)
        self.held = [self.pointers(0), self.pointers(self.output.ctypes.data), self.pointers(self.arena.ctypes.data)]

    def pointers(self, *addresses: int) -> Any:
        return (ctypes.c_void_p * len(addresses))(*addresses)

    def begin(self) -> None:
        self.library.tvmgen_default_begin(self.state, *self.held)

    def push(self, rows: np.ndarray, count: int | None = None) -> int:
        rows = np.ascontiguousarray(rows)
        many = len(rows) if count is None else count
        wanted = self.library.tvmgen_default_push(self.state, ctypes.c_void_p(rows.ctypes.data), many)
        rows[:] = 0
        return int(wanted)

    def end(self) -> int:
        return int(self.library.tvmgen_default_end(self.state))


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    return Stream(small(), tmp_path_factory.mktemp("stream"))


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and what stock TVM answers."""
    values = sample_inputs(small(), 6, 3)
    return values["x"][:, 0], next(iter(reference_outputs(small(), values).values()))


def splits(rows: int) -> list[tuple[int, ...]]:
    """All ways to cut a number of rows into pushes."""
    cuts = [c for n in range(rows) for c in itertools.combinations(range(1, rows), n)]
    return [tuple(b - a for a, b in itertools.pairwise((0, *cut, rows))) for cut in cuts]


def feed(stream: Stream, picture: np.ndarray, pushes: Sequence[int]) -> None:
    at = 0
    for count in pushes:
        at += count
        assert stream.push(picture[at - count : at].copy()) == len(picture) - at


def test_every_split_of_the_rows_is_exact(stream: Stream, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    everything = splits(ROWS)
    assert len(everything) == 2 ** (ROWS - 1)
    for number, pushes in enumerate(everything):
        picture, answer = (values[number % len(values)] for values in pictures)
        stream.arena[:] = 0xA5
        stream.begin()
        feed(stream, picture, pushes)
        assert stream.end() == 0
        assert stream.output.tobytes() == answer.tobytes(), pushes


def test_restart_after_every_row(stream: Stream, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    for done in range(ROWS + 1):
        stream.begin()
        feed(stream, pictures[0][0], [1] * done)
        stream.begin()
        feed(stream, pictures[0][1], [ROWS])
        assert stream.end() == 0
        assert stream.output.tobytes() == pictures[1][1].tobytes(), done


def test_errors_are_defined_and_harm_nothing(tmp_path: Path, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    stream = Stream(small(), tmp_path)
    rows = pictures[0][4]
    assert (stream.push(rows[:1].copy()), stream.end()) == (NOT_BEGUN, NOT_BEGUN)
    stream.begin()
    for row in range(ROWS):
        before = stream.arena.copy(), bytes(stream.state)
        assert stream.end() == TOO_EARLY
        assert stream.push(np.zeros_like(rows), ROWS - row + 1) == TOO_MANY_ROWS
        assert stream.push(rows[:1].copy(), 2**31 - 1) == TOO_MANY_ROWS
        assert stream.push(rows[:1].copy(), -1) == NO_ROWS
        assert stream.library.tvmgen_default_push(stream.state, None, 1) == NO_ROWS
        assert stream.library.tvmgen_default_push(stream.state, None, 0) == ROWS - row
        assert (stream.arena == before[0]).all() and bytes(stream.state) == before[1]
        assert stream.push(rows[row : row + 1].copy()) == ROWS - row - 1
    assert stream.push(rows[:1].copy()) == TOO_MANY_ROWS
    assert stream.end() == 0
    assert (stream.push(rows[:1].copy()), stream.end()) == (NOT_BEGUN, NOT_BEGUN)
    assert stream.output.tobytes() == pictures[1][4].tobytes()


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    """As tests/test_random_networks.py, but by rows: the first run whole, the others in random pushes."""
    network = random_network(seed)
    axes, core = AXES[seed % len(AXES)], CORES[seed % len(CORES)]
    options = PlanOptions(axes, overwrite_input=seed % 2 == 1, core=core, stream_input=True)
    try:
        compiled = compile_model(network.model, options)
    except NotStreamable:
        assert seed in NOT_BY_ROWS
        return
    assert seed not in NOT_BY_ROWS
    samples = with_odd_floats(sample_inputs(network.model, RUNS, seed), seed)
    places = {"input_places": compiled.input_places, "output_places": compiled.output_places}
    actual = run(compiled.build, samples, tmp_path, pools=compiled.pool_bytes, **places)
    for one, other in zip(expected(network.model, samples), actual, strict=True):
        assert np.array_equal(one, other, equal_nan=True) or np.allclose(one, other, 1e-5, 1e-6), network.description
    assert compiled.report["stream"]["input"] not in compiled.input_places


@pytest.mark.parametrize("seed", [1, 5, 11])
def test_random_networks_with_stock_operators(seed: int) -> None:
    model = random_network(seed, stock=True).model
    assert verify(model, compile_model(model, STREAM), inputs=4).passed


# What is held.


def held(model: Model) -> tuple[int, bool, list[str]]:
    compiled = compile_model(model, STREAM)
    assert verify(model, compiled, inputs=5).passed
    stream = compiled.report["stream"]
    return stream["held_bytes"], stream["whole"], stream["read_later_by"]


def test_floats_are_quantised_at_the_row() -> None:
    model = model_of(convolution(quantise(numbers(shape=(1, 12, 6, 3))), random(3, 3, 3, 4)))
    stream = compile_model(model, STREAM)
    assert "copy0" not in [op["operator"] for op in stream.report["operators"]]
    assert stream.report["stream"]["row_bytes"] == 6 * 3 * 4
    bytes_held, whole, _ = held(model)
    assert not whole and bytes_held <= 3 * 6 * 3  # one byte an element
    assert stream.arena_bytes < compile_model(model).arena_bytes - 12 * 6 * 3 * 3


def test_a_skip_from_the_input_holds_rows_alone() -> None:
    x = image(rows=12)
    y = convolution(x, random(3, 3, CHANNELS, CHANNELS), padding=(1, 1, 1, 1))
    bytes_held, whole, _ = held(model_of(average(add(x, y), pool_size=(12, WIDTH), strides=(12, WIDTH))))
    assert not whole and bytes_held <= 3 * WIDTH * CHANNELS


def test_an_input_that_is_needed_at_the_end_is_held_and_the_plan_says_for_whom() -> None:
    x = image(rows=12)
    y = relay.nn.softmax(relay.cast(x, "float32"))
    z = quantise(y, 1 / 256, -128)
    assert held(model_of(add(x, z))) == (12 * WIDTH * CHANNELS, True, ["add1", "TVM or the caller"])


def test_a_dense_first_layer_takes_pixels_as_they_come() -> None:
    flat = relay.reshape(image(), (1, ROWS * WIDTH * CHANNELS))
    assert held(model_of(dense(flat, random(3, ROWS * WIDTH * CHANNELS)))) == (CHANNELS, False, [])


def test_a_transpose_holds_everything() -> None:
    moved = relay.transpose(image(), (0, 3, 1, 2))
    assert held(model_of(relay.nn.relu(moved)))[1:] == (True, ["TVM or the caller"])


def test_the_largest_input_comes_by_rows_and_the_other_lies_in_the_arena() -> None:
    left = convolution(image("a", 12), random(3, 3, CHANNELS, 3), strides=(2, 1))
    right = convolution(image("b", 5), random(1, 3, CHANNELS, 3))
    model = model_of(add(left, right))
    compiled = compile_model(model, STREAM)
    assert compiled.report["stream"]["input"] == "a"
    assert set(compiled.input_places) == {"b"}
    assert verify(model, compiled, inputs=8, sanitize=True).passed
    overwritten = compile_model(model, PlanOptions(overwrite_input=True, stream_input=True))
    assert verify(model, overwritten, inputs=8).passed  # b is written anew where a run is broken off


def test_an_input_that_begins_before_the_rows_come() -> None:
    """The small input's windows reach far: work on it begins before the first row is due."""
    left = convolution(image("a", 9), random(1, 1, CHANNELS, 3))
    deep = convolution(image("b", 9), random(5, 3, CHANNELS, 3), padding=(2, 1, 2, 1))
    right = convolution(deep, random(5, 3, 3, 3), padding=(2, 1, 2, 1))
    model = model_of(add(left, relay.clip(right, -100, 100)))
    compiled = compile_model(model, PlanOptions(("rows",), stream_input=True))
    assert verify(model, compiled, inputs=8).passed


def test_shorter_steps_cost_memory_and_are_exact() -> None:
    layer = image(rows=24)
    for number, strides in enumerate([(1, 1), (2, 1), (1, 1), (2, 1), (1, 1), (2, 1)]):
        weights = random(3, 3, CHANNELS if number == 0 else 4, 4, seed=number)
        layer = convolution(layer, weights, strides=strides, padding=(1, 1, 1, 1), seed=number)
    model = model_of(average(layer, pool_size=(3, WIDTH), strides=(3, WIDTH)))
    free = compile_model(model, STREAM)
    limit = free.report["worst_step_instructions"] * 3 // 4
    bounded = compile_model(model, PlanOptions(stream_input=True, max_step=limit))
    assert bounded.report["worst_step_instructions"] <= limit
    assert bounded.arena_bytes >= free.arena_bytes
    assert verify(model, bounded, inputs=6).passed


# What cannot come by rows.


def refusal(model: Model, options: PlanOptions = STREAM) -> str:
    with pytest.raises(NotStreamable) as caught:
        compile_model(model, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals() -> None:
    flat = source(1, 12)
    assert refusal(model_of(dense(flat, random(3, 12)))) == "no input can come by rows: x has one row"
    axes = PlanOptions(("channels",), stream_input=True)
    assert refusal(model_of(average(image())), axes) == "an input comes by rows only where the loops may slice rows"
    other = relay.var("y", shape=(1, 3), dtype="float32")
    both = relay.Tuple([relay.nn.softmax(other), average(image())])
    assert "input x cannot come by rows: TVM runs" in refusal(model_of(both))
    tokens = relay.var("x", shape=(1, 4, 4, 2), dtype="int32")
    assert "int32" in refusal(model_of(relay.nn.relu(relay.cast(tokens, "int8"))))


# The whole way.


def test_the_pass_gives_a_step_function() -> None:
    step = tvm.transform.Sequential([PexPartition(stream_input=True)])(small().mod)["main"]
    kinds = [(str(p.name_hint), tuple(int(n) for n in p.type_annotation.shape)) for p in step.params]
    assert kinds == [("x", (WIDTH, CHANNELS)), ("pex_row", (1,))]


def test_a_port_called_as_the_row_number() -> None:
    model = model_of(convolution(image("pex_row"), random(3, 3, CHANNELS, 4)))
    assert verify(model, compile_model(model, STREAM), inputs=5).passed


@pytest.mark.parametrize("language", [["gcc", "-std=c99"], ["g++", "-xc++"]])
def test_the_interface_compiles_without_a_warning(stream: Stream, language: list[str], tmp_path: Path) -> None:
    build = stream.compiled.build
    build.write(tmp_path)
    main = tmp_path / "main.c"
    main.write_text("#include <tvmgen_default_stream.h>\nint main(void) { return 0; }\n")
    sources = [main] if "-xc++" in language else [main, tmp_path / SOURCES / "default_stream.c"]
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", f"-I{tmp_path / HEADERS}"]
    subprocess.run([*language, *flags, *map(str, sources)], check=True, cwd=tmp_path)


def test_metadata_tells_of_the_rows(stream: Stream) -> None:
    module = metadata(stream.compiled.model, stream.compiled)["modules"]["default"]
    assert module["arena"]["row_input"] == {"name": "x", "rows": ROWS, "row_bytes": WIDTH * CHANNELS}
    assert module["memory"]["functions"]["main"][0]["io_size_bytes"] == WIDTH * CHANNELS


def firmware(model: Model) -> tuple[CompiledModel, Any]:
    compiled = compile_model(model, STREAM)
    network = in_one_arena(compiled.build, compiled.pool_bytes, compiled.input_places, compiled.output_places)
    inputs = sample_inputs(model, 2, 0)
    board = BOARDS["mps2-an386"]
    task = Task(board, board.shrunk(12 << 10, None), inputs, reference_outputs(model, inputs))
    return compiled, run_firmware(network, task)


def test_firmware_holds_one_row() -> None:
    model = load_model(OWN)
    compiled, report = firmware(model)
    assert report.exact
    rows = compiled.report["stream"]
    assert report.arena_bytes <= compiled.arena_bytes + rows["row_bytes"] + 16
    assert len(report.steps) == rows["rows"] == 28
    assert report.instructions == sum(report.steps)
    assert report.steps[-1] == max(report.steps)


def test_the_commands() -> None:
    done = tvm_pex("plan", "--json", "--stream-input", OWN)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["input_bytes"] == 0
    assert report["worst_step_instructions"] == max(report["stream"]["step_instructions"][:-1])
    verified = json.loads(tvm_pex("verify", "--json", "--inputs", "6", "--stream-input", OWN).stdout)
    assert verified["exact"] and verified["pushes"]["pushes"] > 28 and verified["arena_bytes"] == report["arena_bytes"]
    for status, *options in (
        (2, "--stream-input", "--axes", "channels"),
        (2, "--max-step", "1000"),
        (3, "--stream-input", "--max-step", "10"),
    ):
        wrong = tvm_pex("plan", *options, OWN)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (status, 1), wrong.stderr


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("vww_96_int8", 10_272),
        ("micro_speech_quantized", 4_200),
        ("magic_wand_fp32", 1_348),
    ],
)
def test_known_networks(name: str, most: int) -> None:
    model = load_model(shared_model(name))
    compiled = compile_model(model, STREAM)
    assert compiled.arena_bytes <= most
    assert verify(model, compiled, inputs=4).passed
