"""Runs firmware on qemu-system-arm; input, output and what happened go through files, by semihosting.

Executed instructions. Under ``-icount shift=8`` each instruction takes 256 ns of the emulated time, which is several
periods of the SysTick timer on every board: two readings of it tell exactly how many instructions lie between them. The
firmware reads the timer around a call of nothing and around the call of the network; all arithmetic is here.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tvm_pex.lowering.aot import CPort
from tvm_pex.microtvm.boards import Board
from tvm_pex.microtvm.tools import EMULATOR
from tvm_pex.port_files import Array, read_runs, write_runs

_SHIFT = 8
_INSTRUCTION_NS = 1 << _SHIFT
_WRAP = 1 << 24
_HANDLER_INSTRUCTIONS = 5  # systick_handler
_NOTHING_INSTRUCTIONS = 2  # run_nothing
_MOMENT = struct.Struct("<3I")
_RUN = struct.Struct(f"<i{4 * _MOMENT.size}s")
_FAULT = struct.Struct("<3I")
_DONE, _FAULTED, _NO_FILES = 0, 3, 4  # semihosting.h


class EmulationError(Exception):
    """The firmware did not come to its end; the message says how."""


class StackOverflow(EmulationError):
    """All of the stack was in use, so there was too little of it."""


@dataclass(frozen=True)
class Emulation:
    """``outputs`` maps a port's name to an array of shape (runs, *port shape); ``stack_bytes`` were ever in use.

    ``steps`` has the instructions of each run, without the timer's interrupts: one number, or one for each row that
    comes; nothing if the firmware does not count.
    """

    outputs: Mapping[str, Array]
    stack_bytes: int
    steps: tuple[tuple[int, ...], ...]

    @property
    def instructions(self) -> tuple[int, ...]:
        """Of each run."""
        return tuple(map(sum, self.steps))


@dataclass(frozen=True)
class Firmware:
    """An ELF file for a board, and what it does with its stack and its ports: ``inputs`` in the order of their use.

    ``rows`` of the last input come one by one; 1 where it comes whole.
    """

    elf: Path
    board: Board
    inputs: Sequence[CPort]
    outputs: Sequence[CPort]
    stack_bytes: int
    counts: bool
    rows: int = 1


def emulate(
    firmware: Firmware, inputs: Mapping[str, Array], *, timeout: float, plugin: Sequence[str] = ()
) -> Emulation:
    """Run once for each row of ``inputs``, which maps a port's name to an array of shape (runs, *port shape).

    ``timeout`` is in seconds. ``plugin`` are more arguments for the emulator. Raises StackOverflow, and
    EmulationError for a hard fault, firmware that does not end, and a network that returns an error.
    """
    command = [
        EMULATOR, "-M", firmware.board.name, "-kernel", str(firmware.elf.resolve()),
        "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-icount", f"shift={_SHIFT},sleep=off", *plugin,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        folder = Path(name)
        count = write_runs(folder / "inputs", firmware.inputs, inputs)
        _execute(command, folder, firmware, timeout)
        stack = int.from_bytes((folder / "stack").read_bytes(), "little")
        if stack >= firmware.stack_bytes:
            raise _overflow(firmware)
        records = list(_RUN.iter_unpack((folder / "runs").read_bytes()))
        failed = next((status for status, _ in records if status), 0)
        if failed or len(records) != count * firmware.rows:
            raise EmulationError(f"the network returned {failed} after {len(records) // firmware.rows} runs of {count}")
        steps: list[tuple[int, ...]] = []
        for first in range(0, len(records) if firmware.counts else 0, firmware.rows):
            run = records[first : first + firmware.rows]
            steps.append(tuple(_instructions(moments, firmware.board) for _, moments in run))
        return Emulation(read_runs(folder / "outputs", firmware.outputs, count), stack, tuple(steps))


def _execute(command: Sequence[str], folder: Path, firmware: Firmware, timeout: float) -> None:
    try:
        done = subprocess.run(
            command, check=False, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise EmulationError(f"the firmware did not end within {timeout:g} seconds") from None
    if done.returncode == _DONE:
        return
    if done.returncode == _FAULTED and (folder / "fault").is_file():
        stack, status, address = _FAULT.unpack((folder / "fault").read_bytes())
        if stack >= firmware.stack_bytes:
            raise _overflow(firmware)
        raise EmulationError(f"hard fault at address {address:#x}, fault status {status:#010x}")
    if done.returncode == _NO_FILES:
        raise EmulationError("the firmware cannot open its files")
    words = " ".join((done.stderr or done.stdout).split()) or "no message"
    raise EmulationError(f"{EMULATOR} ended with status {done.returncode}: {words[:200]}")


def _overflow(firmware: Firmware) -> StackOverflow:
    return StackOverflow(f"stack overflow: the firmware needs more than its {firmware.stack_bytes} bytes of stack")


def _instructions(moments: bytes, board: Board) -> int:
    """Between the third and the fourth moment, less what lies between the first two but for the empty function."""
    times = [_moment(board, *words) for words in _MOMENT.iter_unpack(moments)]
    return (times[3] - times[2]) - (times[1] - times[0]) + _NOTHING_INSTRUCTIONS


def _moment(board: Board, wraps: int, left: int, handled: int) -> int:
    """Instructions since the timer's start, to a constant. The emulator cuts the time of a wrap to whole ns."""
    period = Fraction(10**9, board.systick_hz)
    time = wraps * int(_WRAP * period) + (_WRAP - 1 - left) * period
    return round(time / _INSTRUCTION_NS) - handled * _HANDLER_INSTRUCTIONS
