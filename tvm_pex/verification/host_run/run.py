"""Compile a CBuild with the host's gcc and run it on many inputs in one process; ``harness.c`` does the running.

The arena has exactly the bytes asked for, between guard zones, and is filled with noise before each run.
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
from tvm_pex.port_files import Array, read_runs, write_runs

HARNESS = Path(__file__).with_name("harness.c")
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
class HostRun:
    """``outputs`` maps a port's name to an array of shape (runs, *port shape).

    ``guard_faults`` has one line for each block written outside its bounds in a run, as "run 3: byte 512 of arena".
    """

    outputs: Mapping[str, Array]
    guard_faults: tuple[str, ...] = field(default=())

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
        f"-DHAS_ARENA={int(build.has_arena)}",
        f"-I{HEADERS}",
        f"-I{RUNTIME_HEADERS}",
        *sources,
        str(HARNESS),
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
    arena_bytes: int,
    input_offsets: Mapping[str, int] | None = None,
    output_offsets: Mapping[str, int] | None = None,
    guard_bytes: int = GUARD_BYTES,
    timeout: float | None = None,
) -> HostRun:
    """Run once for each row of ``inputs``, which maps a port's name to an array of shape (runs, *port shape).

    ``input_offsets`` and ``output_offsets`` place a port inside the arena; a port without one has a buffer of its own
    outside. ``timeout`` is in seconds, for all runs together. Raises ValueError for inputs of the wrong shape or dtype,
    HostError when the program dies, does not end in time, or reports a failure of its own.
    """
    build = program.build
    ports = [
        *(_place(port, input_offsets) for port in build.inputs),
        *(_place(port, output_offsets) for port in build.outputs),
    ]
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        source, sink = Path(name) / "inputs", Path(name) / "outputs"
        count = write_runs(source, build.inputs, inputs)
        command = [str(program.executable), str(source), str(sink), str(arena_bytes), str(guard_bytes), *ports]
        faults = _faults(_execute(command, timeout))
        return HostRun(read_runs(sink, build.outputs, count), faults)


def _run(
    command: Sequence[str], *, cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, cwd=cwd, timeout=timeout, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def _place(port: CPort, offsets: Mapping[str, int] | None) -> str:
    return f"{port.bytes}:{(offsets or {}).get(port.name, '-')}"


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


def _faults(report: str) -> tuple[str, ...]:
    faults = []
    for line in report.splitlines():
        kind, run, *rest = line.split()
        if kind == "status":
            raise HostError(f"the compiled network returned {rest[0]} in run {run}")
        faults.append(f"run {run}: byte {rest[1]} of {rest[0]}")
    return tuple(faults)
