"""Random calls of the kernels in C: on this machine, and on emulated cores, where they are other code."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from string import Template

import numpy as np
import pytest
from kernel_cases import CASE_BYTES, KERNELS, RESULT_BYTES, Call, random_call

from tvm_pex.lowering.aot import HEADERS, SOURCES, CBuild, CPort
from tvm_pex.micro_kernels.files import source_files
from tvm_pex.microtvm.bare_metal.build import compile_network, in_one_arena, link
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.microtvm.emulation import Firmware, emulate
from tvm_pex.microtvm.tools import CROSS_COMPILER, HOST_COMPILER
from tvm_pex.rounding import ROUNDINGS, Rounding

FILES = Path(__file__).parent / "micro_kernels"
CALLS = 900
STACK = 4096


@pytest.fixture(scope="module", params=ROUNDINGS)
def rounding(request: pytest.FixtureRequest) -> Rounding:
    return request.param


@pytest.fixture(scope="module")
def calls(rounding: Rounding) -> list[Call]:
    rng = np.random.default_rng(6)
    return [random_call(rng, rounding) for _ in range(CALLS)]


def kernels(rounding: Rounding) -> dict[str, str]:
    """Of all kernels, as an archive has them."""
    return source_files({name.removesuffix("_int16").removesuffix("_int32") for name in KERNELS}, rounding)


def written(files: dict[str, str], folder: Path) -> list[str]:
    """The C files, once they and the headers are in ``folder``."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in files if name.endswith(".c")]


def test_every_kernel_is_called_often(calls: list[Call]) -> None:
    counts = Counter(call.kernel for call in calls)
    assert all(counts[kernel] >= 15 for kernel in KERNELS), counts


def check(calls: list[Call], results: np.ndarray) -> None:
    for number, (call, result) in enumerate(zip(calls, results, strict=True)):
        wrong = np.flatnonzero(result != call.results())
        assert not len(wrong), f"call {number}, {call.kernel}: bytes {wrong[:8]} of {len(call.expected)}"


@pytest.mark.parametrize(
    "flags", [("-O2", "-Wpedantic"), ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")]
)
def test_on_this_machine(calls: list[Call], rounding: Rounding, flags: tuple[str, ...], tmp_path: Path) -> None:
    sources = [*written(kernels(rounding), tmp_path), FILES / "case.c", FILES / "host.c"]
    program, given, taken = (tmp_path / name for name in ("host", "cases", "results"))
    command = [HOST_COMPILER, "-std=c99", "-Wall", "-Wextra", "-Werror", *flags, f"-I{tmp_path}", f"-I{FILES}"]
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True)
    given.write_bytes(b"".join(call.as_bytes().tobytes() for call in calls))
    subprocess.run([str(program), str(given), str(taken), str(CASE_BYTES), str(RESULT_BYTES)], check=True)
    check(calls, np.fromfile(taken, np.int8).reshape(-1, RESULT_BYTES))


@pytest.mark.parametrize("optimize", ["-O2", "-O3", "-Os"])
@pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386", "mps3-an547"])
def test_on_a_core(calls: list[Call], rounding: Rounding, board: str, optimize: str, tmp_path: Path) -> None:
    """Plain C, the instructions of the M4's DSP extension, and vectors."""
    own = {path.name: path.read_text() for path in FILES.glob("*.[ch]") if path.name != "host.c"}
    interface = Template((FILES / "tvmgen_default.h.in").read_text()).substitute(result_bytes=RESULT_BYTES)
    files = {**kernels(rounding), **own, "tvmgen_default.h": interface}
    build = CBuild(
        files={f"{HEADERS if name.endswith('.h') else SOURCES}/{name}": text for name, text in files.items()},
        workspace_bytes=0,
        constant_bytes=0,
        inputs=(CPort("call", "call", (CASE_BYTES,), "int8"),),
        outputs=(CPort("results", "results", (RESULT_BYTES,), "int8"),),
        pools=(),
    )
    objects = compile_network(in_one_arena(build, {}, {}, {}), BOARDS[board], tmp_path, optimize=optimize)
    elf = link(objects, "kernels.elf", stack_bytes=STACK, count_instructions=False)
    firmware = Firmware(elf, BOARDS[board], build.inputs, build.outputs, STACK, counts=False)
    given = {"call": np.stack([call.as_bytes() for call in calls])}
    check(calls, emulate(firmware, given, timeout=300).outputs["results"])


@pytest.mark.parametrize("optimize", ["-O0", "-Og", "-Os", "-O2", "-O3"])
@pytest.mark.parametrize("cpu", ["m0plus", "m3", "m4", "m7", "m33", "m55"])
def test_compiles_for_every_core(cpu: str, optimize: str, rounding: Rounding, tmp_path: Path) -> None:
    sources = written(kernels(rounding), tmp_path)
    flags = [f"-mcpu=cortex-{cpu}", "-mthumb", "-mfloat-abi=hard" if cpu == "m55" else "-mfloat-abi=soft"]
    subprocess.run([CROSS_COMPILER, *flags, "-std=gnu99", optimize, "-w", "-c", *sources], check=True, cwd=tmp_path)
