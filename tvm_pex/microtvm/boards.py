"""The boards that ``tvm-pex run`` emulates: their core, their memories, and the clock of their SysTick timer."""

from __future__ import annotations

from dataclasses import dataclass, replace

_MIB = 1 << 20
_M3 = ("-mcpu=cortex-m3",)
_M4F = ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
_M7 = ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")
_M33 = ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")
_M55 = ("-mcpu=cortex-m55", "-mfloat-abi=hard")  # with MVE


@dataclass(frozen=True)
class Memory:
    """``bytes`` bytes from address ``origin`` on."""

    origin: int
    bytes: int


@dataclass(frozen=True)
class Board:
    """A machine of qemu-system-arm.

    ``flags`` choose the core for gcc. The vector table lies at ``boot``, code and constants in ``flash``, all that is
    written in ``ram``. SysTick counts down ``systick_hz`` times a second.
    """

    name: str
    core: str
    flags: tuple[str, ...]
    flash: Memory
    ram: Memory
    systick_hz: int
    boot: int

    @property
    def cpu(self) -> str:
        """The core by gcc's name."""
        return self.flags[0].removeprefix("-mcpu=")

    def shrunk(self, ram_bytes: int | None, flash_bytes: int | None) -> Board:
        """The same board with less memory; None leaves it. Raises ValueError for more than it has."""
        ram, flash = (
            _shrunk(self.name, kind, memory, wanted)
            for kind, memory, wanted in (("RAM", self.ram, ram_bytes), ("flash", self.flash, flash_bytes))
        )
        return replace(self, ram=ram, flash=flash)


def _shrunk(board: str, kind: str, memory: Memory, wanted: int | None) -> Memory:
    if wanted is None:
        return memory
    if wanted > memory.bytes:
        raise ValueError(f"{board} has {memory.bytes} bytes of {kind}, not {wanted}")
    return Memory(memory.origin, wanted)


def _mps2(name: str, core: str, flags: tuple[str, ...]) -> Board:
    return Board(name, core, flags, Memory(0, 4 * _MIB), Memory(0x2000_0000, 4 * _MIB), 25_000_000, boot=0)


# Addresses of the two machines with TrustZone are secure ones: firmware starts, and here stays, in the secure state.
_ALL = (
    _mps2("mps2-an385", "Cortex-M3", _M3),
    _mps2("mps2-an386", "Cortex-M4F", _M4F),
    _mps2("mps2-an500", "Cortex-M7", _M7),
    Board(
        "mps2-an505", "Cortex-M33", _M33,
        Memory(0x1000_0000, 4 * _MIB), Memory(0x3800_0000, 4 * _MIB), 20_000_000, boot=0x1000_0000,
    ),
    Board(
        "mps3-an547", "Cortex-M55", _M55,
        Memory(0x7000_0000, 16 * _MIB), Memory(0x3100_0000, 4 * _MIB), 32_000_000, boot=0,
    ),
    Board(
        "netduinoplus2", "Cortex-M4F", _M4F,
        Memory(0x0800_0000, _MIB), Memory(0x2000_0000, 128 << 10), 168_000_000, boot=0x0800_0000,
    ),
)  # fmt: skip

BOARDS = {board.name: board for board in _ALL}
DEFAULT_BOARD = "mps2-an386"
