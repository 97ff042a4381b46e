"""The Zephyr template: CMake and Ninja build it against the user's tree, QEMU runs it, ``west flash`` flashes it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from .boards import all_names, board_by_name
from .links import ProcessLink, SerialLink, emulator_command, find_port
from .project import ProjectHandler, common_options
from .server import ProjectOption, ServerError
from .tools import run_tool

OLDEST, NEWEST = (3, 2), (4, 99)
MODULES = ("hal/cmsis", "hal/cmsis_6", "hal/stm32", "lib/picolibc")
"""Modules that the boards need, where ``west update`` puts them: in the folder modules beside Zephyr's own."""

ALL = ["generate_project", "build", "flash", "open_transport"]
OPTIONS = [
    *common_options(all_names()),
    ProjectOption("zephyr_base", "Zephyr's folder; without it the variable ZEPHYR_BASE.", optional=ALL),
    ProjectOption("zephyr_modules", "Folders of modules, with ; between them; without it those beside Zephyr's folder, "
                  "or west's.", optional=ALL),
    ProjectOption("west_cmd", "The command west, which flash needs.", default="west", optional=ALL),
    ProjectOption("config_main_stack_size", "Bytes of the stack that the model runs on.", type="int", default=2048,
                  optional=["generate_project"]),
    ProjectOption("flash_runner", "West's runner; without it the board's first.", optional=["flash"]),
    ProjectOption("serial_number", "The board's serial number, if several are plugged in.",
                  optional=["flash", "open_transport"]),
    ProjectOption("port", "The serial port; without it the one with the board's USB id.", optional=["open_transport"]),
    ProjectOption("baudrate", "Bits a second; without it the board's own.", type="int", optional=["open_transport"]),
]  # fmt: skip


class ZephyrHandler(ProjectHandler):
    platform = "zephyr"
    options = OPTIONS

    def expand(self, project: Path, options: Mapping[str, Any]) -> None:
        template = project / "prj.conf.in"
        stack = options.get("config_main_stack_size") or 2048
        (project / "prj.conf").write_text(Template(template.read_text()).substitute(main_stack_size=stack))
        template.unlink()

    def build(self, options: dict[str, Any]) -> None:
        base = zephyr_base(options)
        command = configure_command(self.board(), base, options, self.folder)
        build = self.folder / "build"
        shutil.rmtree(build, ignore_errors=True)  # another board or tree may have been there
        environment = {**os.environ, **toolchain(os.environ), "ZEPHYR_BASE": str(base)}
        verbose = bool(options.get("verbose"))
        run_tool(command, folder=self.folder, package="Debian: apt-get install cmake ninja-build device-tree-compiler",
                 verbose=verbose, environment=environment)  # fmt: skip
        run_tool(["cmake", "--build", "build"], folder=self.folder, package="Debian: apt-get install cmake",
                 verbose=verbose, environment=environment)  # fmt: skip

    def flash(self, options: dict[str, Any]) -> None:
        self._elf()
        if board_by_name(self.board()).qemu:
            return  # the emulator loads the program when it starts
        command = flash_command(options, (self.folder / "build/zephyr/runners.yaml").read_text())
        environment = {**os.environ, "ZEPHYR_BASE": str(zephyr_base(options))}
        run_tool(command, folder=self.folder, package="pip install west", verbose=bool(options.get("verbose")),
                 environment=environment)  # fmt: skip

    def open_link(self, options: Mapping[str, Any]) -> ProcessLink | SerialLink:
        board = board_by_name(self.board())
        if board.qemu:
            return ProcessLink(emulator_command(*board.qemu, self._elf()))
        port = options.get("port") or find_port(board.usb_ids, options.get("serial_number"))
        return SerialLink(port, options.get("baudrate") or board.baudrate)

    def _elf(self) -> Path:
        elf = self.folder / "build/zephyr/zephyr.elf"
        if not elf.exists():
            raise ServerError("the project is not built yet")
        return elf


def zephyr_base(options: Mapping[str, Any]) -> Path:
    """The user's Zephyr. Raises ServerError."""
    text = options.get("zephyr_base") or os.environ.get("ZEPHYR_BASE")
    if not text:
        raise ServerError("where is Zephyr? Give the option zephyr_base or set ZEPHYR_BASE")
    return Path(text).resolve()


def zephyr_release(base: Path) -> tuple[int, int]:
    """Major and minor number. Raises ServerError, also for a release that the template does not build with."""
    try:
        numbers = dict(re.findall(r"^(\w+) *= *(\d+)", (base / "VERSION").read_text(), re.MULTILINE))
        release = int(numbers["VERSION_MAJOR"]), int(numbers["VERSION_MINOR"])
    except (OSError, KeyError):
        raise ServerError(f"{base} is not Zephyr: it has no VERSION") from None
    if not OLDEST <= release <= NEWEST:
        raise ServerError(f"Zephyr {release[0]}.{release[1]} is not supported: the template builds with 3.2 to 4.x")
    return release


def configure_command(board: str, base: Path, options: Mapping[str, Any], project: Path) -> list[str]:
    name = board_by_name(board).name_in(zephyr_release(base))
    modules = options.get("zephyr_modules") or ";".join(
        str(folder) for folder in (base.parent / "modules" / module for module in MODULES) if folder.is_dir()
    )
    return [
        *("cmake", "-GNinja", "-S", str(project), "-B", str(project / "build"), f"-DBOARD={name}"),
        *([f"-DZEPHYR_MODULES={modules}"] if modules else []),
        *(["-DCMAKE_VERBOSE_MAKEFILE=ON"] if options.get("verbose") else []),
    ]


def toolchain(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's own toolchain, or Debian's gcc."""
    if "ZEPHYR_TOOLCHAIN_VARIANT" in environment or "ZEPHYR_SDK_INSTALL_DIR" in environment:
        return {}
    gcc = shutil.which("arm-none-eabi-gcc")
    if gcc is None:
        raise ServerError("arm-none-eabi-gcc is not installed (Debian: apt-get install gcc-arm-none-eabi)")
    return {"ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb", "GNUARMEMB_TOOLCHAIN_PATH": str(Path(gcc).parents[1])}


def flash_command(options: Mapping[str, Any], runners: str) -> list[str]:
    """``west flash``. ``runners`` is the text of the build's runners.yaml, which names the board's first runner."""
    first = re.search(r"^flash-runner: (\S+)", runners, re.MULTILINE)
    runner = options.get("flash_runner") or (first[1] if first else None)
    if runner is None:
        raise ServerError("the board has no flash runner: give the option flash_runner")
    command = [*shlex.split(options.get("west_cmd") or "west"), "flash", "-d", "build", "-r", runner]
    serial_number = options.get("serial_number")
    if not serial_number:
        return command
    chosen = {
        "openocd": ["--cmd-pre-init", f"adapter serial {serial_number}"],
        "stm32cubeprogrammer": ["--conn-modifiers", f"sn={serial_number}"],
    }
    if runner not in chosen:
        raise ServerError(f"serial_number is for the runners {' and '.join(chosen)}, not for {runner}")
    return [*command, *chosen[runner]]
