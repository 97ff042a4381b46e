"""Compile a CBuild with the host's gcc and run it on many inputs in one process; ``harness.c`` does the running.

Each memory pool has exactly the bytes asked for, between guard zones, and is filled with noise before each run. A
network whose input can come by rows gets it whole in the first run, in random pushes in the others: see ``pushes.c``.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tvm_pex.lowering.aot import HEADERS, RUNTIME_HEADERS, SOURCES, CBuild, CPort
from tvm_pex.pools import Place
from tvm_pex.port_files import Array, read_runs, write_runs

HARNESS = Path(__file__).with_name("harness.c")
PUSHES = Path(__file__).with_name("pushes.c")
GUARD_BYTES = 4096
# Without contraction a fused multiply-add may not change the floats of one build but not of another.
FLAGS = ("-std=gnu99", "-O1", "-ffp-contract=off", "-w")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


class HostError(Exception):
    """The C did not compile, or the program died or failed; the message says which and why."""


class NoCompilerError(HostError):
    """There is no C compiler."""


@dataclass(frozen=True)
class HostProgram:
    """A compiled network: the executable and the build that it was made from."""

    executable: Path
    build: CBuild


@dataclass(frozen=True)
class Pushes:
    """How rows were handed in, over all runs: calls of push, runs broken off by a begin, calls that were refused."""

    pushes: int
    restarts: int
    refused: int


@dataclass(frozen=True)
class HostRun:
    """``outputs`` maps a port's name to an array of shape (runs, *port shape).

    ``guard_faults`` has one line for each block written outside its bounds in a run, as "run 3: byte 512 of arena".
    ``pushes`` is None for a network whose input is whole.
    """

    outputs: Mapping[str, Array]
    guard_faults: tuple[str, ...] = field(default=())
    pushes: Pushes | None = None

    @property
    def guard_intact(self) -> bool:
        return not self.guard_faults


def compile_host(
    build: CBuild, folder: Path, *, flags: Sequence[str] = FLAGS, sanitize: bool = False, compiler: str = "gcc"
) -> HostProgram:
    """Write the sources below ``folder`` and link them with the harness. Raises HostError with the compiler's words."""
    if shutil.which(compiler) is None:
        raise NoCompilerError(f"no C compiler: {compiler} is not installed (Debian: apt-get install gcc libc6-dev)")
    folder = folder.resolve()
    build.write(folder)
    executable = folder / "host_run"
    sources = [path for path in build.files if path.startswith(SOURCES)]
    command = [
        compiler,
        *flags,
        *(SANITIZE if sanitize else ()),
        f"-DPORTS_IN={len(build.inputs)}",
        f"-DPORTS_OUT={len(build.outputs)}",
        f"-DPOOLS={len(build.pools)}",
        f"-DPUSHES={int(build.row_input is not None)}",
        f"-I{HEADERS}",
        f"-I{RUNTIME_HEADERS}",
        *sources,
        str(HARNESS),
        *([str(PUSHES)] if build.row_input else []),
        "-lm",
        "-o",
        str(executable),
    ]
    done = _run(command, cwd=folder)
    if done.returncode:
        raise HostError(f"the C does not compile:\n{done.stderr.strip()}")
    return HostProgram(executable, build)


def run_host(
    program: HostProgram,
    inputs: Mapping[str, Array],
    *,
    pools: Mapping[str, int],
    input_places: Mapping[str, Place] | None = None,
    output_places: Mapping[str, Place] | None = None,
    guard_bytes: int = GUARD_BYTES,
    timeout: float | None = None,
) -> HostRun:
    """Run once for each row of ``inputs``, which maps a port's name to an array of shape (runs, *port shape).

    ``pools`` gives the bytes of each pool by name: those of ``build.pools``, mostly ``arena`` alone, and others that
    hold ports. ``input_places`` and ``output_places`` place a port inside a pool; a port without one has a buffer of
    its own outside. ``timeout`` is in seconds, for all runs together. Raises ValueError for inputs of the wrong shape
    or dtype, HostError when the program dies, does not end in time, or reports a failure of its own.
    """
    build = program.build
    names = [*build.pools, *(name for name in pools if name not in build.pools)]
    blocks = [
        *(_port(port, input_places, names) for port in build.inputs),
        *(_port(port, output_places, names) for port in build.outputs),
        *(f"{name}:{pools[name]}" for name in names),
    ]
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        source, sink = Path(name) / "inputs", Path(name) / "outputs"
        count = write_runs(source, build.inputs, inputs)
        command = [str(program.executable), str(source), str(sink), str(guard_bytes), *blocks]
        faults, pushes = _findings(_execute(command, timeout))
        return HostRun(read_runs(sink, build.outputs, count), faults, pushes)


def _run(
    command: Sequence[str], *, cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, cwd=cwd, timeout=timeout, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def _port(port: CPort, places: Mapping[str, Place] | None, pools: Sequence[str]) -> str:
    at = (places or {}).get(port.name)
    return f"{port.bytes}:{pools.index(at.pool)}:{at.offset}" if at else f"{port.bytes}:-"


def _execute(command: Sequence[str], timeout: float | None) -> str:
    try:
        done = _run(command, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise HostError(f"the compiled network did not end within {timeout} s") from None
    words = done.stderr.strip()
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise HostError(f"the compiled network died of {name}" + (f":\n{words}" if words else ""))
    if done.returncode:
        raise HostError(words or f"the compiled network ended with status {done.returncode}")
    return done.stdout


def _findings(report: str) -> tuple[tuple[str, ...], Pushes | None]:
    faults, pushes = [], None
    for line in report.splitlines():
        kind, run, *rest = line.split()
        if kind == "status":
            raise HostError(f"the compiled network returned {rest[0]} in run {run}")
        if kind == "pushes":
            pushes = Pushes(int(run), int(rest[0]), int(rest[1]))
        else:
            faults.append(f"run {run}: byte {rest[1]} of {rest[0]}")
    return tuple(faults), pushes
