"""The Zephyr template: CMake and Ninja build it against the user's tree, QEMU runs it, ``west flash`` flashes it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .links import ProcessLink, SerialLink, emulator_command, find_port
from .project import ProjectHandler, common_options
from .run_tool import run_tool
from .server import ProjectOption, ServerError
from .zephyr_boards import BY_NAME

OLDEST, NEWEST = (3, 2), (4, 99)
MODULES = ("hal/cmsis", "hal/cmsis_6", "hal/stm32", "lib/picolibc")
"""Modules that the boards need, where ``west update`` puts them: in the folder modules beside Zephyr's own."""

CMAKE_PACKAGES = "Debian: apt-get install cmake ninja-build"

ALL = ["generate_project", "build", "flash", "open_transport"]
OPTIONS = [
    *common_options(sorted(BY_NAME)),
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

    def absolute(self, options: Mapping[str, Any]) -> dict[str, Any]:
        paths = {name: options[name] for name in ("zephyr_base", "zephyr_modules") if options.get(name)}
        resolved = {
            name: ";".join(str(Path(path).expanduser().resolve()) for path in text.split(";"))
            for name, text in paths.items()
        }
        return {**options, **resolved}

    def build(self, options: dict[str, Any]) -> None:
        settings = self.settings(options)
        base = zephyr_base(settings)
        configure = configure_command(base, settings, self.folder)
        environment = {**os.environ, **toolchain(os.environ), "ZEPHYR_BASE": str(base)}
        shutil.rmtree(self.folder / "build", ignore_errors=True)  # it may be from another tree
        for command in (configure, ["cmake", "--build", "build"]):
            self._run(command, CMAKE_PACKAGES, settings, environment)

    def flash(self, options: dict[str, Any]) -> None:
        settings = self.settings(options)
        self._elf()
        if BY_NAME[settings["board"]].qemu:
            return  # the emulator loads the program when it starts
        command = flash_command(settings, (self.folder / "build/zephyr/runners.yaml").read_text())
        self._run(command, "pip install west", settings, {**os.environ, "ZEPHYR_BASE": str(zephyr_base(settings))})

    def open_link(self, settings: Mapping[str, Any]) -> ProcessLink | SerialLink:
        board = BY_NAME[settings["board"]]
        if board.qemu:
            return ProcessLink(emulator_command(*board.qemu, self._elf()))
        port = settings.get("port") or find_port(board.usb_ids, settings.get("serial_number"))
        return SerialLink(port, settings.get("baudrate") or board.baudrate)

    def _run(
        self, command: Sequence[str], package: str, settings: Mapping[str, Any], environment: Mapping[str, str]
    ) -> None:
        verbose = bool(settings.get("verbose"))
        run_tool(command, folder=self.folder, package=package, verbose=verbose, environment=environment)

    def _elf(self) -> Path:
        elf = self.folder / "build/zephyr/zephyr.elf"
        if not elf.exists():
            raise ServerError("the project is not built yet")
        return elf


def zephyr_base(settings: Mapping[str, Any]) -> Path:
    """The user's Zephyr. Raises ServerError."""
    text = settings.get("zephyr_base") or os.environ.get("ZEPHYR_BASE")
    if not text:
        raise ServerError("where is Zephyr? Give the option zephyr_base or set ZEPHYR_BASE")
    return Path(text).expanduser().resolve()


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


def configure_command(base: Path, settings: Mapping[str, Any], project: Path) -> list[str]:
    """CMake's command line for the project in ``project``, with the tree in ``base``."""
    name = BY_NAME[settings["board"]].name_in(zephyr_release(base))
    modules = settings.get("zephyr_modules") or ";".join(
        str(folder) for folder in (base.parent / "modules" / module for module in MODULES) if folder.is_dir()
    )
    return [
        *("cmake", "-GNinja", "-S", str(project), "-B", str(project / "build"), f"-DBOARD={name}"),
        *([f"-DZEPHYR_MODULES={modules}"] if modules else []),
        *(["-DCMAKE_VERBOSE_MAKEFILE=ON"] if settings.get("verbose") else []),
    ]


def toolchain(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's own toolchain, or Debian's gcc."""
    if "ZEPHYR_TOOLCHAIN_VARIANT" in environment or "ZEPHYR_SDK_INSTALL_DIR" in environment:
        return {}
    gcc = shutil.which("arm-none-eabi-gcc")
    if gcc is None:
        raise ServerError("arm-none-eabi-gcc is not installed (Debian: apt-get install gcc-arm-none-eabi)")
    return {"ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb", "GNUARMEMB_TOOLCHAIN_PATH": str(Path(gcc).parents[1])}


def flash_command(settings: Mapping[str, Any], runners: str) -> list[str]:
    """``west flash``. ``runners`` is the text of the build's runners.yaml, which names the board's first runner."""
    first = re.search(r"^flash-runner: (\S+)", runners, re.MULTILINE)
    runner = settings.get("flash_runner") or (first[1] if first else None)
    if runner is None:
        raise ServerError("the board has no flash runner: give the option flash_runner")
    command = [*shlex.split(settings.get("west_cmd") or "west"), "flash", "-d", "build", "-r", runner]
    serial_number = settings.get("serial_number")
    if not serial_number:
        return command
    chosen = {
        "openocd": ["--cmd-pre-init", f"adapter serial {serial_number}"],
        "stm32cubeprogrammer": ["--conn-modifiers", f"sn={serial_number}"],
    }
    if runner not in chosen:
        raise ServerError(f"serial_number is for the runners {' and '.join(chosen)}, not for {runner}")
    return [*command, *chosen[runner]]
