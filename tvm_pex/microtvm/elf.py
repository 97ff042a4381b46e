"""What an ELF file says: the memory that its sections take, and where each address comes from in the source."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from elftools.elf.elffile import ELFFile

from tvm_pex.microtvm.boards import Board

_ALLOCATED = 2  # SHF_ALLOC


@dataclass(frozen=True)
class Sections:
    """Bytes by section; initialised data counts twice: its values are kept in flash and copied to RAM."""

    flash: dict[str, int]
    ram: dict[str, int]

    @property
    def flash_bytes(self) -> int:
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        """From the first to the last byte in use, padding between sections included."""
        return sum(self.ram.values())


@dataclass(frozen=True)
class Source:
    """A line of C in a function; ``file`` is "" where there is no debug information, as in the C library."""

    function: str
    file: str
    line: int


def read_sections(path: Path, board: Board) -> Sections:
    """The sections that take memory on the board; padding counts to the section before it."""
    flash: dict[str, int] = {}
    ram: list[tuple[int, int, str]] = []
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            size, address = int(section["sh_size"]), int(section["sh_addr"])
            if not section["sh_flags"] & _ALLOCATED or size == 0:
                continue
            if board.ram.origin <= address < board.ram.origin + board.ram.bytes:
                ram.append((address, size, section.name))
            if section["sh_type"] != "SHT_NOBITS":
                flash[section.name] = size
    ram.sort()
    ends = [address for address, _, _ in ram[1:]] + [ram[-1][0] + ram[-1][1]] if ram else []
    return Sections(flash, {name: end - address for (address, _, name), end in zip(ram, ends)})


@dataclass(frozen=True, order=True)
class Function:
    """``end`` is the address behind it; ``begin`` where its size is not known, as of some in assembler."""

    begin: int
    end: int
    name: str


class SourceMap:
    """From an address to its ``Source``; ``functions`` are in the order of their addresses."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            elf = ELFFile(file)
            self.functions = sorted(_functions(elf))
            self._lines = sorted(_lines(elf), key=lambda entry: (entry[0], entry[2] > 0))

    def at(self, address: int) -> Source:
        """Of the instruction at ``address``."""
        function = self.function(address)
        name = function.name if function else ""
        at = bisect_right(self._lines, address, key=lambda entry: entry[0]) - 1
        _, file, line = self._lines[at] if at >= 0 else (0, "", 0)
        return Source(name, file, line) if line else Source(name, "", 0)

    def function(self, address: int) -> Function | None:
        """The last that begins there or before, if there is any."""
        at = bisect_right(self.functions, address, key=lambda function: function.begin) - 1
        return self.functions[at] if at >= 0 else None


def _functions(elf: Any) -> Iterator[Function]:
    """The Thumb bit is removed."""
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if symbol["st_info"]["type"] == "STT_FUNC":
            begin = int(symbol["st_value"]) & ~1
            yield Function(begin, begin + int(symbol["st_size"]), symbol.name)


def _lines(elf: Any) -> Iterator[tuple[int, str, int]]:
    """(address, file, line) where a line begins; line 0 where what is known about lines ends."""
    information = elf.get_dwarf_info()
    for unit in information.iter_CUs():
        program = information.line_program_for_CU(unit)
        first = 0 if program.header["version"] >= 5 else 1
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if state.end_sequence:
                yield state.address, "", 0
            else:
                name = program.header["file_entry"][state.file - first].name.decode()
                yield state.address, PurePosixPath(name).name, state.line
