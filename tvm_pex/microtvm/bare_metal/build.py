"""Bare-metal firmware from a network's C: compiled and linked by Debian's gcc for Arm, for one board."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from tvm_pex.lowering.aot import ARENA_ALIGNMENT, HEADERS, RUNTIME_HEADERS, SOURCES, CBuild, CPort
from tvm_pex.microtvm.boards import Board, Memory
from tvm_pex.microtvm.tools import CROSS_COMPILER
from tvm_pex.pools import Place

# Fused multiply-adds would give other floats than the host's.
FLAGS = (
    "-std=gnu99",
    "-mthumb",
    "-g",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-ffunction-sections",
    "-fdata-sections",
)
_HERE = Path(__file__).parent
_OWN_SOURCES = ("startup.c", "systick.c")
MAIN = _HERE / "main.c"
_VECTOR_BYTES = 0x40
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes?")


class FirmwareError(Exception):
    """The firmware does not compile or link; the message has the compiler's words."""


class TooSmallError(FirmwareError):
    """A memory of the board is too small. ``memory`` is "RAM" or "FLASH"; ``excess_bytes`` are missing.

    ``without_stack`` tells that these are too few: the stack would need some, too.
    """

    def __init__(self, board: Board, memory: str, excess_bytes: int, *, without_stack: bool) -> None:
        self.memory, self.excess_bytes = memory, excess_bytes
        present = board.ram if memory == "RAM" else board.flash
        super().__init__(
            f"{board.name}: the firmware needs {present.bytes + excess_bytes} bytes of {memory}"
            f"{' besides its stack' if without_stack and memory == 'RAM' else ''}, "
            f"{excess_bytes} more than the {present.bytes} that there are"
        )


@dataclass(frozen=True)
class Network:
    """A network's C, and where its ports and its pools lie: all of them in one arena of ``arena_bytes``."""

    build: CBuild
    arena_bytes: int
    pool_offsets: Mapping[str, int]
    input_offsets: Mapping[str, int]
    output_offsets: Mapping[str, int]


def in_one_arena(
    build: CBuild, pools: Mapping[str, int], input_places: Mapping[str, Place], output_places: Mapping[str, Place]
) -> Network:
    """One arena of ``pools`` (bytes by name) side by side. Ports that have no place in them get one after their end.

    Of an input that comes by rows it is the place of one row.
    """
    bases: dict[str, int] = {}
    end = 0
    for name, size in pools.items():
        bases[name] = _aligned(end, ARENA_ALIGNMENT)
        end = bases[name] + size
    offsets: list[dict[str, int]] = []
    for places, ports in zip((input_places, output_places), (build.inputs, build.outputs)):
        known = {name: bases[place.pool] + place.offset for name, place in places.items()}
        for port in ports:
            if port.name not in known:
                known[port.name] = _aligned(end, np.dtype(port.dtype).itemsize)
                end = known[port.name] + _bytes(build, port)
        offsets.append(known)
    return Network(build, end, bases, *offsets)


def _bytes(build: CBuild, port: CPort) -> int:
    """Bytes of a port that are in memory at once."""
    return build.row_input.row_bytes if build.row_input and build.row_input.name == port.name else port.bytes


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


@dataclass(frozen=True)
class Objects:
    """A network compiled for a board: object files below ``folder``, to be linked once or several times."""

    network: Network
    board: Board
    folder: Path
    flags: tuple[str, ...]
    files: tuple[str, ...]


def compile_network(network: Network, board: Board, folder: Path, *, optimize: str = "-O2") -> Objects:
    """Write the sources below ``folder`` and compile them. Raises FirmwareError."""
    folder = folder.resolve()
    network.build.write(folder)
    (folder / "firmware.h").write_text(_header(network))
    flags = (*board.flags, *FLAGS, optimize, "-I.", f"-I{HEADERS}", f"-I{RUNTIME_HEADERS}", f"-I{_HERE}")
    sources = [path for path in network.build.files if path.startswith(SOURCES)]
    objects = [f"{Path(source).stem}.o" for source in sources]
    for source, file in zip(sources, objects):
        _check(_gcc([CROSS_COMPILER, *flags, "-w", "-c", source, "-o", file], folder))
    return Objects(network, board, folder, flags, tuple(objects))


def link(
    objects: Objects,
    name: str,
    *,
    stack_bytes: int,
    count_instructions: bool,
    board: Board | None = None,
    program: Path = MAIN,
) -> Path:
    """The firmware as an ELF file ``name``; ``board`` is the same board with less memory, ``program`` has its main().

    Raises TooSmallError where RAM or flash do not suffice, and FirmwareError.
    """
    board = board or objects.board
    folder = objects.folder
    (folder / "firmware.ld").write_text(_linker_script(board, stack_bytes))
    command = [
        CROSS_COMPILER, *objects.flags, f"-DCOUNT_INSTRUCTIONS={int(count_instructions)}",
        "-fno-tree-loop-distribute-patterns", "-Wall", "-Wextra",
        *(str(_HERE / source) for source in _OWN_SOURCES), str(program), *objects.files,
        "-nostartfiles", "-nostdlib", "-Wl,--gc-sections", "-Wl,-Tfirmware.ld", "-lm", "-lc", "-lgcc", "-o", name,
    ]  # fmt: skip
    done = _gcc(command, folder)
    overflow = _OVERFLOW.search(done.stderr)
    if done.returncode and overflow:
        excess = int(overflow[2]) + (_missing_for_vectors(board) if overflow[1] == "FLASH" else 0)
        raise TooSmallError(board, overflow[1], excess, without_stack=stack_bytes == 0)
    _check(done)
    return folder / name


def _gcc(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise FirmwareError(f"the firmware does not build:\n{done.stderr.strip()}")


def _header(network: Network) -> str:
    build = network.build
    values = {
        "arena_bytes": str(max(network.arena_bytes, 1)),
        "has_workspace": str(int(bool(build.pools))),
        "pools": ", ".join(f"arena + {network.pool_offsets[name]}" for name in build.pools),
        "rows": str(build.row_input.rows if build.row_input else 0),
        "inputs": _table(build, build.inputs_as_they_come, network.input_offsets),
        "outputs": _table(build, build.outputs, network.output_offsets),
        "input_pointers": _pointers(build.inputs, network.input_offsets),
        "output_pointers": _pointers(build.outputs, network.output_offsets),
    }
    return Template((_HERE / "firmware.h.in").read_text()).substitute(values)


def _table(build: CBuild, ports: Sequence[CPort], offsets: Mapping[str, int]) -> str:
    return ", ".join(f"{{{offsets[port.name]}, {_bytes(build, port)}}}" for port in ports)


def _pointers(ports: Sequence[CPort], offsets: Mapping[str, int]) -> str:
    return ", ".join(f"arena + {offsets[port.name]}" for port in ports)


def _missing_for_vectors(board: Board) -> int:
    """By how much a flash is too small for the vector table alone, if it is the one that holds it."""
    return max(_VECTOR_BYTES - board.flash.bytes, 0) if board.boot == board.flash.origin else 0


def _linker_script(board: Board, stack_bytes: int) -> str:
    flash = board.flash
    if board.boot == flash.origin:
        flash = Memory(flash.origin + _VECTOR_BYTES, max(flash.bytes - _VECTOR_BYTES, 0))
    values = {
        "boot_origin": hex(board.boot),
        "flash_origin": hex(flash.origin),
        "flash_bytes": flash.bytes,
        "ram_origin": hex(board.ram.origin),
        "ram_bytes": board.ram.bytes,
        "stack_bytes": stack_bytes,
    }
    return Template((_HERE / "firmware.ld.in").read_text()).substitute(values)
