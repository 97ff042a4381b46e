"""Runs a network on an emulated board and measures it: memory by the linked file, stack by paint, instructions.

Two links of the same objects. The first has a wide stack and no interrupt: it tells the stack that the firmware needs.
The second has just that, and room for one exception frame: it counts instructions, and its memory is what counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm_pex.lowering.aot import ARENA_ALIGNMENT
from tvm_pex.microtvm.bare_metal.build import Network, Objects, TooSmallError, compile_network, link
from tvm_pex.microtvm.boards import Board
from tvm_pex.microtvm.elf import Sections, read_sections
from tvm_pex.microtvm.emulation import Emulation, Firmware, emulate
from tvm_pex.microtvm.operator_profile import Work, operator_work
from tvm_pex.port_files import Array
from tvm_pex.verification.verify import TOLERANCE, differs_as_float, same

WIDE_STACK = 32 << 10
# With floating point 26 words, and one to align; rounded up.
EXCEPTION_FRAME = 112


@dataclass(frozen=True)
class Task:
    """What to run where. ``device`` is ``board`` with the memory that the firmware must fit.

    ``inputs`` maps a port's name to an array of shape (runs, *port shape), ``expected`` likewise for outputs, by their
    order. ``timeout`` is in seconds. ``operators`` names those in regions if instructions are wanted by operator.
    """

    board: Board
    device: Board
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    optimize: str = "-O2"
    timeout: float = 300.0
    operators: Collection[str] | None = None


@dataclass(frozen=True)
class FirmwareReport:
    """``exact``: all outputs are the expected ones, floats within ``tolerance``, None if none differs.

    ``stack_bytes`` are those in use without an interrupt, ``steps`` the instructions of the first run: one number, or
    one for each row that comes.
    """

    exact: bool
    tolerance: float | None
    outputs: Mapping[str, Array]
    arena_bytes: int
    stack_bytes: int
    sections: Sections
    steps: tuple[int, ...]
    operators: Mapping[str, Work] | None

    @property
    def instructions(self) -> int:
        return sum(self.steps)

    @property
    def other_ram_bytes(self) -> int:
        """All but arena and stack in use: room for an exception frame, the skeleton's variables, the C library's."""
        return self.sections.ram_bytes - self.arena_bytes - self.stack_bytes


def run_firmware(network: Network, task: Task) -> FirmwareReport:
    """Build, run, measure.

    Raises FirmwareError, TooSmallError where the device does not suffice, and EmulationError.
    """
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        objects = compile_network(network, task.board, Path(name), optimize=task.optimize)
        wide = _wide(objects)
        first = {port: values[:1] for port, values in task.inputs.items()}
        stack = emulate(wide, first, timeout=task.timeout).stack_bytes
        firmware = _firmware(objects, stack + EXCEPTION_FRAME, counts=True, device=task.device)
        ran = emulate(firmware, task.inputs, timeout=task.timeout)
        operators = None
        if task.operators is not None:
            build = network.build
            operators = operator_work(wide, build, task.operators, first, timeout=task.timeout)
        return _report(network, task, ran, stack, read_sections(firmware.elf, task.board), operators)


def _wide(objects: Objects) -> Firmware:
    """With all the stack there is room for, up to WIDE_STACK, and as aligned as the arena behind it."""
    try:
        return _firmware(objects, WIDE_STACK, counts=False, device=objects.board)
    except TooSmallError as error:
        if error.memory != "RAM":
            raise
        left = (WIDE_STACK - error.excess_bytes) // ARENA_ALIGNMENT * ARENA_ALIGNMENT
        return _firmware(objects, max(left, 0), counts=False, device=objects.board)


def _firmware(objects: Objects, stack_bytes: int, *, counts: bool, device: Board) -> Firmware:
    name = "counting.elf" if counts else "wide.elf"
    elf = link(objects, name, stack_bytes=stack_bytes, count_instructions=counts, board=device)
    build = objects.network.build
    rows = build.row_input.rows if build.row_input else 1
    return Firmware(elf, objects.board, build.inputs_as_they_come, build.outputs, stack_bytes, counts, rows)


def _report(
    network: Network, task: Task, ran: Emulation, stack: int, sections: Sections, operators: Mapping[str, Work] | None
) -> FirmwareReport:
    pairs = list(zip(task.expected.values(), ran.outputs.values(), strict=True))
    return FirmwareReport(
        exact=all(same(one, other) for one, other in pairs),
        tolerance=TOLERANCE if any(differs_as_float(one, other) for one, other in pairs) else None,
        outputs=ran.outputs,
        arena_bytes=network.arena_bytes,
        stack_bytes=stack,
        sections=sections,
        steps=ran.steps[0],
        operators=operators,
    )
