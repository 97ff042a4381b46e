"""The harness sees every byte written outside a block, and every other way to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvm_pex.lowering.aot import HEADERS, SOURCES, CBuild, CPort
from tvm_pex.pools import Place
from tvm_pex.verification.host_run import HostError, HostProgram, NoCompilerError, compile_host, run_host

FILES = Path(__file__).parent / "host_run"
ARENA_BYTES = 37  # not a multiple of any alignment
BUILD = CBuild(
    files={
        f"{SOURCES}/network.c": (FILES / "network.c").read_text(),
        f"{HEADERS}/tvmgen_default.h": (FILES / "tvmgen_default.h").read_text(),
    },
    workspace_bytes=ARENA_BYTES,
    constant_bytes=0,
    inputs=(CPort("x", "x", (4,), "int8"),),
    outputs=(CPort("y", "y", (4,), "int8"),),
    pools={"arena": ARENA_BYTES},
)
ARENA = {"arena": ARENA_BYTES}


def at(x: int, y: int) -> dict[str, Any]:
    """Both ports inside the arena."""
    places = {"input_places": {"x": Place("arena", x)}, "output_places": {"y": Place("arena", y)}}
    return {"pools": ARENA, **places}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> HostProgram:
    return compile_host(BUILD, tmp_path_factory.mktemp("plain"))


def orders(*first: int) -> dict[str, np.ndarray]:
    return {"x": np.array([[order, 10, 20, 30] for order in first], np.int8)}


def test_many_runs_in_order(program: HostProgram) -> None:
    run = run_host(program, orders(0, 100, -5), pools=ARENA)
    assert run.guard_intact
    assert run.outputs["y"].tolist() == [[1, 11, 21, 31], [101, 11, 21, 31], [-4, 11, 21, 31]]


def test_ports_inside_the_arena(program: HostProgram) -> None:
    run = run_host(program, orders(0), **at(33, 0))
    assert run.guard_intact
    assert run.outputs["y"].tolist() == [[1, 11, 21, 31]]


def test_port_must_fit_the_arena(program: HostProgram) -> None:
    with pytest.raises(HostError, match="outside its pool"):
        run_host(program, orders(0), **at(34, 0))


@pytest.mark.parametrize(
    ("order", "fault"),
    [(1, f"byte {ARENA_BYTES} of arena"), (2, "byte -1 of arena"), (3, f"byte {ARENA_BYTES + 255} of arena"),
     (4, "byte 4 of output0")],
)  # fmt: skip
def test_guards(program: HostProgram, order: int, fault: str) -> None:
    run = run_host(program, orders(0, order, 0), pools=ARENA)
    assert not run.guard_intact
    assert run.guard_faults == (f"run 1: {fault}",)  # and the guards are whole again in run 2


def test_a_pool_that_holds_ports_alone(program: HostProgram) -> None:
    places = {"input_places": {"x": Place("slow", 4)}, "output_places": {"y": Place("slow", 0)}}
    run = run_host(program, orders(0), pools={"slow": 8, **ARENA}, **places)
    assert run.guard_intact
    assert run.outputs["y"].tolist() == [[1, 11, 21, 31]]
    places["output_places"] = {"y": Place("slow", 4)}
    assert run_host(program, orders(4), pools={"slow": 8, **ARENA}, **places).guard_faults == ("run 0: byte 8 of slow",)


def test_a_smaller_arena_than_the_code_uses(program: HostProgram) -> None:
    assert not run_host(program, orders(1), pools={"arena": ARENA_BYTES - 1}).guard_intact


def test_unwritten_memory_differs_from_run_to_run(program: HostProgram) -> None:
    first, second = run_host(program, orders(7, 7), pools=ARENA).outputs["y"].tolist()
    assert first != second


def test_death_and_failure_are_named(program: HostProgram) -> None:
    with pytest.raises(HostError, match="SIGABRT"):
        run_host(program, orders(5), pools=ARENA)
    with pytest.raises(HostError, match="returned -7 in run 1"):
        run_host(program, orders(0, 6), pools=ARENA)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_sanitizer_stops_at_the_first_byte_outside(order: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    program = compile_host(BUILD, tmp_path_factory.mktemp("sanitized"), sanitize=True)
    assert run_host(program, orders(0), pools=ARENA).guard_intact
    with pytest.raises(HostError, match="AddressSanitizer"):
        run_host(program, orders(order), pools=ARENA)


def test_wrong_inputs(program: HostProgram) -> None:
    with pytest.raises(ValueError, match="is not runs of"):
        run_host(program, {"x": np.zeros((1, 5), np.int8)}, pools=ARENA)


def test_no_compiler(tmp_path: Path) -> None:
    with pytest.raises(NoCompilerError, match="is not installed"):
        compile_host(BUILD, tmp_path, compiler="no-such-compiler")
