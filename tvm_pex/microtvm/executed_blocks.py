"""What the emulator executed, block by block: see ``bare_metal/executed_blocks.c``."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tvm_pex.microtvm.elf import Function
from tvm_pex.microtvm.emulation import Firmware, emulate
from tvm_pex.microtvm.tools import EMULATOR, HOST_COMPILER
from tvm_pex.port_files import Array

_PLUGIN = Path(__file__).parent / "bare_metal" / "executed_blocks.c"


@dataclass(frozen=True)
class Block:
    """Instructions at ``addresses``, the next one would be at ``end``; ``followers`` are addresses of what came after.

    ``executed`` says how often for which caller: by the address of the call, or by None where the block lies in a
    caller itself. The emulator may have made several blocks of the same instructions: each counts for itself.
    """

    addresses: tuple[int, ...]
    end: int
    executed: Counter[int | None] = field(default_factory=Counter)
    followers: set[int] = field(default_factory=set)


def executed_blocks(
    firmware: Firmware, callers: Iterable[Function], inputs: Mapping[str, Array], *, timeout: float
) -> list[Block]:
    """All blocks that ran in or for ``callers``. Raises EmulationError where the run does not end as it should."""
    folder = firmware.elf.parent
    plugin, answer = folder / "executed_blocks.so", folder / "executed_blocks.txt"
    flags = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={_plugin_api()}")
    subprocess.run([HOST_COMPILER, *flags, str(_PLUGIN), "-o", str(plugin)], check=True, capture_output=True)
    ranges = ":".join(f"{function.begin}-{function.end}" for function in callers)
    emulate(firmware, inputs, timeout=timeout, plugin=("-plugin", f"{plugin},to={answer},callers={ranges}"))
    return list(_read(answer.read_text()))


def _read(text: str) -> Iterator[Block]:
    """The lines of a block become one."""
    for lines in text.split("block ")[1:]:
        first, *others = lines.splitlines()
        end, *addresses = map(int, first.split())
        block = Block(tuple(addresses), end)
        for line in others:
            kind, address, *count = line.split()
            if kind == "for":
                block.executed[int(address) or None] += int(count[0])
            else:
                block.followers.add(int(address))
        yield block


def _plugin_api() -> int:
    """QEMU 9 raised the version of its interface for plugins; what is used here stayed the same."""
    words = subprocess.run([EMULATOR, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)", words)
    return 1 if version is None or int(version[1]) < 9 else 2
