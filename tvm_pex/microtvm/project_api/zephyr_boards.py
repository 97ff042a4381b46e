"""Boards of the Zephyr template: their names in Zephyr's releases, and how to reach them."""

from __future__ import annotations

from typing import NamedTuple

ST_LINK_V2_1, ST_LINK_V3 = "0483:374b", "0483:374e"  # USB vendor:product of the debugger on a board


class Board(NamedTuple):
    """``names`` are (first release, name), oldest first. ``qemu`` is machine and CPU of the board's emulator.

    ``usb_ids`` are those of a real board's serial port, which runs at ``baudrate``.
    """

    names: tuple[tuple[tuple[int, int], str], ...]
    qemu: tuple[str, str] | None = None
    usb_ids: tuple[str, ...] = ()
    baudrate: int = 115200

    def name_in(self, release: tuple[int, int]) -> str:
        return [name for first, name in self.names if first <= release][-1]


def _st(name: str, *usb_ids: str) -> Board:
    return Board((((0, 0), name),), usb_ids=usb_ids)


BOARDS = {
    "mps2/an385": Board((((0, 0), "mps2_an385"), ((3, 7), "mps2/an385")), ("mps2-an385", "cortex-m3")),
    "mps2/an521": Board((((0, 0), "mps2_an521"), ((3, 7), "mps2/an521/cpu0")), ("mps2-an521", "cortex-m33")),
    "mps3/an547": Board(
        (((0, 0), "mps3_an547"), ((3, 7), "mps3/an547"), ((4, 0), "mps3/corstone300/an547")),
        ("mps3-an547", "cortex-m55"),
    ),
    "nucleo_l4r5zi": _st("nucleo_l4r5zi", ST_LINK_V2_1),
    "nucleo_f746zg": _st("nucleo_f746zg", ST_LINK_V2_1),
    "stm32f746g_disco": _st("stm32f746g_disco", ST_LINK_V2_1),
    "nucleo_h743zi": _st("nucleo_h743zi", ST_LINK_V2_1, ST_LINK_V3),
    "b_u585i_iot02a": _st("b_u585i_iot02a", ST_LINK_V3),
}

BY_NAME = {alias: board for key, board in BOARDS.items() for alias in (key, *(name for _, name in board.names))}
"""Boards by all the names that they have had."""
