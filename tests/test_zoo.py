"""The zoo: what needs no TensorFlow is tested always, the networks themselves where it is installed."""

from __future__ import annotations

import ast
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from model_files import OWN, ROOT
from random_graphs import GraphMaker, random_graph

from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.graph import Graph, Window
from tvm_pex.memory_planner import Problem, plan_memory
from tvm_pex.options import PlanOptions
from tvm_pex.scheduling.lifetimes import memory_problem, segment_problem
from tvm_pex.scheduling.schedule import Schedule
from tvm_pex.scheduling.search import find_schedule
from tvm_pex.scheduling.segments import make_segment

sys.path.insert(0, str(ROOT / "apps" / "zoo"))

import channel_only
import make
import moment_tiles
import table

ZOO = ROOT / "apps" / "zoo"


def invoke(command: Any, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)))


def test_each_network_of_the_list_is_defined_with_its_sizes() -> None:
    tree = ast.parse((ZOO / "networks.py").read_text())
    defined = {f.name: [a.arg for a in f.args.args] for f in tree.body if isinstance(f, ast.FunctionDef)}
    for name, own in make.NETWORKS.items():
        sizes = {"width": own.width, "resolution": own.resolution}
        assert defined[name] == [size for size, value in sizes.items() if value is not None]


def test_list_and_help() -> None:
    listed = invoke(make.main, "--list")
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(make.NETWORKS)
    for command in (make.main, table.main, channel_only.main, moment_tiles.main):
        assert "Examples:" in invoke(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("mobilenet_v3",), "there is no network mobilenet_v3; there are mobilenet_v1, "),
        (("ds_cnn", "--width", "0.5"), "ds_cnn has only one size: it takes no --width"),
        (("ds_cnn", "-o", "missing/out.tflite"), "the folder missing does not exist"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(make.main, *arguments)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_tensorflow_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")\n")
    for command in (["make.py", "ds_cnn", "-o", str(tmp_path / "out.tflite")], ["table.py", "--cache", str(tmp_path)]):
        program = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.insert(1, {str(ZOO)!r}); "
        program += f"sys.argv[:] = {command!r}; runpy.run_path({str(ZOO / command[0])!r}, run_name='__main__')"
        done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert "pip install '.[train]'" in done.stderr
    assert [path.name for path in tmp_path.rglob("*.tflite")] == []


def test_table_of_the_own_model() -> None:
    done = invoke(table.main, OWN, "--inputs", "2")
    assert done.exit_code == 0, done.stderr
    *heading, row = done.stdout.splitlines()
    assert tuple(heading) == table.HEADING
    plan = compile_model(load_model(OWN)).report
    name, before, kept, overwritten, bound, exact = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, exact) == ("fashion_mnist", "yes")
    assert [int(cell.replace(",", "")) for cell in (before, kept, bound)] == [
        plan[key] for key in ("layer_by_layer_bytes", "arena_bytes", "lower_bound_bytes")
    ]
    assert int(overwritten.replace(",", "")) < plan["arena_bytes"]


@pytest.mark.parametrize("command", [table.main, channel_only.main])
def test_a_program_that_is_not_exact(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Differs:
        passed = False

    monkeypatch.setattr("tvm_pex.verification.verify.verify", lambda *_, **__: Differs())
    done = invoke(command, OWN)
    assert done.exit_code == 1
    assert done.stdout.endswith("| NO |\n")


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    for command in (table.main, channel_only.main, moment_tiles.main):
        done = invoke(command, tmp_path / "missing.tflite")
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "missing.tflite" in done.stderr


def as_planned(_graph: Graph, problem: Problem) -> Problem:
    return problem


@pytest.mark.parametrize("seed", range(4000, 4020))
def test_channel_only_search(seed: int) -> None:
    """The highest segment is the lowest possible, so the command's own schedule has none that is all lower."""
    graph = random_graph(seed)
    kept = frozenset(graph.inputs)
    schedules = find_schedule(graph, axes=("channels",), kept=kept), channel_only.lowest(graph, kept, as_planned)
    other, own = ([plan_memory(segment_problem(graph, s, kept)).peak for s in x.segments] for x in schedules)
    assert max(own) <= max(other)
    whole = plan_memory(memory_problem(graph, schedules[1], kept=kept)).peak
    assert whole >= plan_memory(memory_problem(graph, schedules[0], kept=kept)).peak


def test_one_byte_sums_of_an_inverted_bottleneck() -> None:
    maker = GraphMaker()
    wide = maker.convolution(maker.source("x", (6, 5, 4)), 24)
    maker.convolution(maker.convolution(wide, 24, Window((3, 3), pad=(1, 1)), (1, 1), depthwise=True), 4)
    graph, kept = maker.graph(), frozenset({"x"})
    schedule = channel_only.lowest(graph, kept, channel_only.one_byte)
    assert [segment.tile for segment in schedule.segments] == [1]
    problem = memory_problem(graph, schedule, kept=kept)
    pixels = 6 * 5
    # input and output whole, one channel of each wide tensor; and four bytes for each sum
    assert plan_memory(channel_only.one_byte(graph, problem)).peak == pixels * (4 + 4 + 1 + 1)
    assert plan_memory(problem).peak == pixels * (4 + 4 + 1 + 1 + 4 * 4)


def test_channel_only_arena_is_the_command_s() -> None:
    arena = compile_model(load_model(OWN), PlanOptions(axes=("channels",))).arena_bytes
    assert channel_only.channel_only_bytes(OWN, as_planned) == arena
    assert channel_only.channel_only_bytes(OWN) < arena


def pixel_by_pixel(maker: GraphMaker) -> moment_tiles.Arenas:
    graph = maker.graph()
    schedule = Schedule((make_segment(graph, graph.operators, ("rows", "pixels")),))
    return moment_tiles.measure(graph, schedule, frozenset({"x"}))


@pytest.mark.parametrize(("wide", "tile"), [(24, 1 + 4 * 4), (12, 12)])
def test_a_channel_of_a_pixel_and_its_sums(wide: int, tile: int) -> None:
    """Between two 1x1 convolutions: the sums of 4 results cost 16 bytes, more than a pixel of 12 channels."""
    maker = GraphMaker()
    maker.convolution(maker.convolution(maker.source("x", (6, 5, 4)), wide), 4)
    whole = 6 * 5 * (4 + 4)  # input and output
    assert pixel_by_pixel(maker) == moment_tiles.Arenas(whole + wide, whole + tile, whole)


def test_a_channel_of_a_pixel_before_global_pooling() -> None:
    """The pool has its sums already: 16 bits for each channel. Its result takes their place."""
    maker = GraphMaker()
    maker.pool(maker.convolution(maker.source("x", (6, 5, 4)), 24), Window((6, 5)))
    arenas = pixel_by_pixel(maker)
    assert (arenas.planned - arenas.tiles, arenas.tiles - arenas.nothing) == (23, 1)


def test_what_is_read_later_has_all_channels() -> None:
    maker = GraphMaker()
    maker.convolution(maker.convolution(maker.source("x", (6, 5, 4)), 24), 4, Window((3, 3), pad=(1, 1)), (1, 1))
    arenas = pixel_by_pixel(maker)
    assert arenas.planned == arenas.tiles == arenas.nothing


@pytest.mark.parametrize("seed", range(4100, 4115))
def test_a_channel_of_a_pixel_lies_between_all_and_none(seed: int) -> None:
    graph = random_graph(seed)
    kept = frozenset(graph.inputs)
    arenas = moment_tiles.measure(graph, find_schedule(graph, kept=kept), kept)
    assert arenas.nothing <= arenas.tiles <= arenas.planned


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """One that makes networks after each other: what it made before must change no byte of the next."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow, the extra `train`, makes the networks: large")
@pytest.mark.parametrize("name", make.NETWORKS)
def test_network(name: str, tmp_path: Path, process: ProcessPoolExecutor) -> None:
    """Same seed, same bytes; another seed, others; and the compiled C is exact."""
    resolution = 48 if make.NETWORKS[name].resolution else None
    path = tmp_path / "network.tflite"
    command = [sys.executable, ZOO / "make.py", name, *(["--resolution", resolution] if resolution else []), "-o", path]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    other, again = (
        process.submit(make.content, make.request(name, None, resolution, seed), make.silently).result()
        for seed in (1, 0)
    )
    assert path.read_bytes() == again != other
    assert table.checked(path, PlanOptions(), 2, make.silently)[1]
