"""Firmware on emulated boards: every way to go wrong is named, and the counts are the known ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import OWN

from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.lowering.aot import HEADERS, SOURCES, CBuild, CPort
from tvm_pex.microtvm import bare_metal
from tvm_pex.microtvm.bare_metal.build import Network, TooSmallError, compile_network, in_one_arena, link
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.microtvm.elf import SourceMap, read_sections
from tvm_pex.microtvm.emulation import EmulationError, Firmware, StackOverflow, emulate
from tvm_pex.microtvm.operator_profile import CALLS, LOOPS, line_owners
from tvm_pex.microtvm.tools import MissingTools, check_tools
from tvm_pex.pools import Place
from tvm_pex.verification.firmware import EXCEPTION_FRAME, FirmwareReport, Task, run_firmware
from tvm_pex.verification.verify import reference_outputs, sample_inputs

FILES = Path(__file__).parent / "firmware"
M4 = BOARDS["mps2-an386"]
STACK = 4096
LOOP, OVERFLOW, FAULT, HANG, FAIL, USE_STACK = range(6)
ORDERS = CBuild(
    files={
        f"{SOURCES}/network.c": (FILES / "network.c").read_text(),
        f"{HEADERS}/tvmgen_default.h": (FILES / "tvmgen_default.h").read_text(),
    },
    workspace_bytes=0,
    constant_bytes=0,
    inputs=(CPort("order", "order", (2,), "int32"),),
    outputs=(CPort("answer", "answer", (1,), "int32"),),
    pools={},
)
ORDERED = in_one_arena(ORDERS, {}, {}, {})


def firmware_of_orders(folder: Path, board: str = M4.name, stack: int = STACK, counts: bool = True) -> Firmware:
    objects = compile_network(ORDERED, BOARDS[board], folder)
    elf = link(objects, "orders.elf", stack_bytes=stack, count_instructions=counts)
    return Firmware(elf, BOARDS[board], ORDERS.inputs, ORDERS.outputs, stack, counts)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return firmware_of_orders(tmp_path_factory.mktemp("orders"))


def given(*pairs: tuple[int, int]) -> dict[str, np.ndarray]:
    return {"order": np.array(pairs, np.int32)}


def test_ports_without_a_place_follow_the_arena() -> None:
    assert ORDERED.arena_bytes == 12
    assert in_one_arena(ORDERS, {"arena": 5}, {"order": Place("arena", 0)}, {}).output_offsets == {"answer": 8}


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_instructions_are_exact(board: str, tmp_path: Path) -> None:
    rounds = (1, 2, 3, 1000, 250_000, 3_000_001)  # the last ones longer than the timer's period on every board
    ran = emulate(firmware_of_orders(tmp_path, board), given(*((LOOP, n) for n in rounds)), timeout=300)
    assert ran.outputs["answer"].tolist() == [[n + 1] for n in rounds]
    assert [n - ran.instructions[0] for n in ran.instructions] == [2 * (n - 1) for n in rounds]
    assert 2 < ran.instructions[0] < 50


def test_stack_in_use_grows_with_the_need(tmp_path: Path) -> None:
    firmware = firmware_of_orders(tmp_path, counts=False)
    used = [emulate(firmware, given((USE_STACK, n)), timeout=300).stack_bytes for n in (0, 64, 1024)]
    assert used[1] > used[0] + 63
    assert used[2] - used[0] == 16 * (used[1] - used[0])


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an505", "netduinoplus2"])
def test_stack_overflow(board: str, tmp_path: Path) -> None:
    firmware = firmware_of_orders(tmp_path, board)
    for depth in (STACK, 50 * STACK):
        with pytest.raises(StackOverflow, match=f"more than its {STACK} bytes"):
            emulate(firmware, given((LOOP, 1), (OVERFLOW, depth)), timeout=300)


def test_hard_fault_names_the_place(orders: Firmware) -> None:
    with pytest.raises(EmulationError, match="hard fault at address") as caught:
        emulate(orders, given((FAULT, 0)), timeout=300)
    address = int(str(caught.value).split("address ")[1].split(",")[0], 16)
    place = SourceMap(orders.elf).at(address)
    assert (place.function, place.file) == ("tvmgen_default_run", "network.c")
    assert "udf" in (FILES / "network.c").read_text().splitlines()[place.line - 1]


def test_hang_and_failure(orders: Firmware) -> None:
    with pytest.raises(EmulationError, match="did not end within 1 seconds"):
        emulate(orders, given((HANG, 0)), timeout=1)
    with pytest.raises(EmulationError, match="returned -7"):
        emulate(orders, given((LOOP, 1), (FAIL, 0)), timeout=300)


def test_wrong_inputs(orders: Firmware) -> None:
    with pytest.raises(ValueError, match="is not runs of"):
        emulate(orders, {"order": np.zeros((1, 3), np.int32)}, timeout=300)


def test_too_small_by_one_byte(tmp_path: Path) -> None:
    objects = compile_network(ORDERED, M4, tmp_path)
    sections = read_sections(link(objects, "a.elf", stack_bytes=STACK, count_instructions=True), M4)
    for memory, needed in (("RAM", sections.ram_bytes), ("FLASH", sections.flash_bytes)):
        for excess in (1, 100):
            ram, flash = (needed - excess, None) if memory == "RAM" else (None, needed - excess)
            with pytest.raises(TooSmallError, match=f"needs {needed} bytes of {memory}, {excess} more") as caught:
                link(objects, "b.elf", stack_bytes=STACK, count_instructions=True, board=M4.shrunk(ram, flash))
            assert (caught.value.memory, caught.value.excess_bytes) == (memory, excess)
    fitting = M4.shrunk(sections.ram_bytes, sections.flash_bytes)
    assert link(objects, "b.elf", stack_bytes=STACK, count_instructions=True, board=fitting).is_file()
    with pytest.raises(ValueError, match="has 131072 bytes of RAM"):
        BOARDS["netduinoplus2"].shrunk(131_073, None)


def test_a_board_without_room_for_a_wide_stack() -> None:
    expected = {"answer": np.array([[2]], np.int32)}
    for less in (0, 1, 2, 9):
        board = M4.shrunk(STACK - less, None)
        assert run_firmware(ORDERED, Task(board, board, given((LOOP, 1)), expected)).exact
    board = M4.shrunk(STACK, None)
    large = Network(ORDERS, 2 * STACK, {}, {"order": 0}, {"answer": 8})
    with pytest.raises(TooSmallError, match=f"besides its stack, .* more than the {STACK}"):
        run_firmware(large, Task(board, board, given((LOOP, 1)), {}))


def test_a_wrong_answer_is_not_exact() -> None:
    report = run_firmware(ORDERED, Task(M4, M4, given((LOOP, 1)), {"answer": np.array([[3]], np.int32)}))
    assert not report.exact


@pytest.fixture(scope="module")
def own() -> CompiledModel:
    return compile_model(load_model(OWN))


@pytest.fixture(scope="module")
def reports(own: CompiledModel) -> dict[str, FirmwareReport]:
    network = in_one_arena(own.build, own.pool_bytes, own.input_places, own.output_places)
    inputs = sample_inputs(own.model, 2, seed=1)
    expected = reference_outputs(own.model, inputs)
    names = [name for segment in own.report["segments"] for name in segment["operators"]]
    return {
        name: run_firmware(network, Task(board, board, inputs, expected, operators=names))
        for name, board in BOARDS.items()
    }


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_own_model(board: str, own: CompiledModel, reports: dict[str, FirmwareReport]) -> None:
    report = reports[board]
    assert report.exact
    assert report.arena_bytes == own.arena_bytes == report.sections.ram[".arena"]
    assert report.stack_bytes <= 1024
    assert EXCEPTION_FRAME <= report.other_ram_bytes <= 256
    assert report.sections.flash_bytes > own.build.constant_bytes


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_operators_add_up_to_the_timer(board: str, own: CompiledModel, reports: dict[str, FirmwareReport]) -> None:
    report = reports[board]
    assert report.operators is not None
    assert sum(work.instructions for work in report.operators.values()) == report.instructions
    assert {op.name for op in own.graph.operators} <= report.operators.keys()
    assert report.operators[LOOPS].instructions < 0.01 * report.instructions
    assert report.operators[CALLS].instructions < 1000
    outside = {name: work.outside_inner_loops / work.instructions for name, work in report.operators.items()}
    assert min(outside[LOOPS], outside[CALLS]) > 0.99
    # Half of this convolution of few inputs is its inner loop.
    assert 0.3 < outside["conv0"] < 0.6


def test_the_same_core_executes_the_same_instructions(reports: dict[str, FirmwareReport]) -> None:
    assert reports["netduinoplus2"].instructions == reports["mps2-an386"].instructions
    assert len({report.instructions for report in reports.values()}) == len(BOARDS) - 1


def test_whose_lines() -> None:
    text = """\
TVM_DLL int32_t tvmgen_default_fused_pex_region(int8_t* p0) {
  for (int32_t row = 0; row < 2; ++row) {
    if (row < 1) {
      for (int32_t conv1_line = 0; conv1_line < 1; ++conv1_line) {
        p0[0] = 1;
      }
    }
    for (int32_t conv10_oc_1 = 0; conv10_oc_1 < 1; ++conv10_oc_1) {
      p0[0] = 2;
    }
  }
  return 0;
}
TVM_DLL int32_t tvmgen_default_fused_nn_softmax(float* p0) {
  return 0;
}
TVM_DLL int32_t tvmgen_default___tvm_main__(int8_t* x) {
}
"""
    owners = line_owners(text, ["conv1", "conv10"])
    assert [owners[n] for n in range(1, 14)] == [
        LOOPS, LOOPS, LOOPS, "conv1", "conv1", "conv1", LOOPS, "conv10", "conv10", "conv10", LOOPS, LOOPS, LOOPS,
    ]  # fmt: skip
    assert [owners[n] for n in range(14, 19)] == ["fused_nn_softmax"] * 3 + [CALLS] * 2


def test_missing_tools_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_tools()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTools) as caught:
        check_tools()
    for package in ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "qemu-system-arm"):
        assert package in str(caught.value)
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.write_text("#!/bin/sh\necho libm.a\n")  # what gcc says that has no libm.a
    compiler.chmod(0o755)
    with pytest.raises(MissingTools, match="libnewlib-arm-none-eabi") as caught:
        check_tools()
    assert "gcc-arm-none-eabi" not in str(caught.value)


def test_no_hidden_libc(own: CompiledModel, tmp_path: Path) -> None:
    """No heap and no input or output: of the C library only memory and mathematical functions."""
    network = in_one_arena(own.build, own.pool_bytes, own.input_places, own.output_places)
    objects = compile_network(network, M4, tmp_path)
    files = [str(tmp_path / name) for name in objects.files]
    listed: Any = subprocess.run(["arm-none-eabi-nm", "-u", *files], check=True, capture_output=True, text=True).stdout
    undefined = {line.split()[-1] for line in listed.splitlines() if line.strip().startswith("U ")}
    assert {name for name in undefined if not name.startswith("tvmgen_")} <= {"memcpy", "memset", "expf", "roundf"}


def test_our_own_c_has_no_warnings(tmp_path: Path) -> None:
    """Users' compilers may warn of other things: only here a warning is an error."""
    objects = compile_network(ORDERED, M4, tmp_path)
    sources = sorted(
        str(path) for path in Path(bare_metal.__file__).parent.glob("*.c") if path.name != "executed_blocks.c"
    )
    assert sources
    command = [
        "arm-none-eabi-gcc",
        *objects.flags,
        "-DCOUNT_INSTRUCTIONS=1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsyntax-only",
    ]
    subprocess.run([*command, *sources], check=True, cwd=tmp_path)
