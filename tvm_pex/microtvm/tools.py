"""The system's tools for firmware: which are missing, and the Debian packages that bring them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CROSS_COMPILER = "arm-none-eabi-gcc"
EMULATOR = "qemu-system-arm"
HOST_COMPILER = "gcc"
_PACKAGES = {
    CROSS_COMPILER: "gcc-arm-none-eabi",
    "newlib": "libnewlib-arm-none-eabi",
    EMULATOR: "qemu-system-arm",
    HOST_COMPILER: "gcc libc6-dev",
}


class MissingTools(Exception):
    """One line that names the packages."""


def check_tools() -> None:
    """Raises MissingTools unless everything is there that builds firmware, runs it, and compares it with the host."""
    missing = [tool for tool in (CROSS_COMPILER, EMULATOR, HOST_COMPILER) if shutil.which(tool) is None]
    if CROSS_COMPILER in missing or not _has_newlib():
        missing.append("newlib")
    if missing:
        packages = " ".join(_PACKAGES[tool] for tool in missing)
        what = ", ".join(missing)
        raise MissingTools(f"missing: {what} (Debian: apt-get install --no-install-recommends {packages})")


def _has_newlib() -> bool:
    """The compiler answers with a whole path if it has the library."""
    command = [CROSS_COMPILER, "-print-file-name=libm.a"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()).is_absolute()
