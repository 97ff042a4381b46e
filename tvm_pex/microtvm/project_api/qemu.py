"""The bare-metal template: make and Debian's gcc for Arm build it, QEMU runs it. No board, no operating system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from .links import ProcessLink, emulator_command
from .project import ProjectHandler, common_options
from .run_tool import run_tool
from .server import ProjectOption, ServerError

BOARDS = {
    "mps2-an385": ("cortex-m3", "-mcpu=cortex-m3"),
    "mps2-an386": ("cortex-m4", "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"),
    "mps2-an500": ("cortex-m7", "-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-sp-d16"),
}
"""QEMU's machines with one memory map: their CPU as QEMU calls it, and gcc's options, those of ``tvm-pex run``."""

PACKAGES = "Debian: apt-get install --no-install-recommends make gcc-arm-none-eabi libnewlib-arm-none-eabi"
_STACK_BYTES = 2048


OPTIONS = [
    *common_options(list(BOARDS)),
    ProjectOption("config_main_stack_size", "Bytes of the stack.", type="int", default=_STACK_BYTES,
                  optional=["generate_project"]),
]  # fmt: skip


class QemuHandler(ProjectHandler):
    platform = "qemu"
    options = OPTIONS

    def expand(self, project: Path, options: Mapping[str, Any]) -> None:
        template = project / "board.mk.in"
        values = {
            "cpu_flags": BOARDS[options["board"]][1],
            "stack_bytes": options.get("config_main_stack_size") or _STACK_BYTES,
        }
        (project / "board.mk").write_text(Template(template.read_text()).substitute(values))
        template.unlink()

    def build(self, options: dict[str, Any]) -> None:
        verbose = bool(self.settings(options).get("verbose"))
        run_tool(["make", "-B"], folder=self.folder, package=PACKAGES, verbose=verbose)

    def flash(self, options: dict[str, Any]) -> None:
        self.settings(options)
        self._elf()  # the emulator loads the program when it starts

    def open_link(self, settings: Mapping[str, Any]) -> ProcessLink:
        board = settings["board"]
        return ProcessLink(emulator_command(board, BOARDS[board][0], self._elf()))

    def _elf(self) -> Path:
        elf = self.folder / "build/firmware.elf"
        if not elf.exists():
            raise ServerError("the project is not built yet")
        return elf
