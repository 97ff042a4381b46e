"""Instructions by operator: QEMU counts each instruction, and the debug information tells whose work it was.

The C of a region names in its loops' variables whose work they do. An instruction counts for the operator in whose loop
its line lies; the optimiser moves some out of their loop, and those count for the loops around. Operators outside the
regions are functions of their own, and so are those of the C library. Nothing is added to the firmware: the sum is what
the same firmware executes without being watched.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from tvm_pex.lowering.aot import SOURCES, CBuild, own_name
from tvm_pex.lowering.kernels import loop_name
from tvm_pex.microtvm.elf import Source, SourceMap
from tvm_pex.microtvm.emulation import Firmware, emulate
from tvm_pex.microtvm.tools import EMULATOR, HOST_COMPILER
from tvm_pex.port_files import Array

_PLUGIN = Path(__file__).parent / "bare_metal" / "instruction_counts.c"
_CALLER = "run_network"  # main.c
_OWN_FILES = ("main.c", "startup.c", "systick.c", "semihosting.h", "stack.h")
_FUNCTION = re.compile(r"^TVM_DLL \w+ (\w+)\(.*\{$")
_LOOP = re.compile(r"^ *for \(int32_t (\w+) = 0;")
LOOPS = "(loops)"
CALLS = "(calls)"


def operator_instructions(
    firmware: Firmware, build: CBuild, operators: Collection[str], inputs: Mapping[str, Array], *, timeout: float
) -> dict[str, int]:
    """Executed instructions by operator, in the order of the C, for one set of ``inputs``.

    ``firmware`` is one that does not count itself. ``operators`` are the names of those in regions; others go by the
    name of their function. Raises EmulationError where the run does not end as it should.
    """
    folder = firmware.elf.parent
    plugin, counts = folder / "instruction_counts.so", folder / "instruction_counts.txt"
    flags = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={_plugin_api()}")
    subprocess.run([HOST_COMPILER, *flags, str(_PLUGIN), "-o", str(plugin)], check=True, capture_output=True)
    emulate(firmware, inputs, timeout=timeout, plugin=("-plugin", f"{plugin},counts={counts}"))
    source_map = SourceMap(firmware.elf)
    places = {
        Path(path).name: line_owners(text, operators) for path, text in build.files.items() if path.startswith(SOURCES)
    }
    total: Counter[str] = Counter()
    for line in counts.read_text().splitlines():
        address, executed = map(int, line.split())
        owner = _owner(source_map.at(address), places)
        if owner is not None:
            total[owner] += executed
    order = dict.fromkeys([*(owner for owners in places.values() for owner in owners.values()), *sorted(total)])
    return {owner: total[owner] for owner in order if total[owner]}


def line_owners(text: str, operators: Collection[str]) -> dict[int, str]:
    """For each line inside a function of generated C, numbered from 1, the operator whose work is done there."""
    prefixes = {loop_name(name, ""): name for name in operators}
    owners: dict[int, str] = {}
    function = operator = None
    depth = outside = 0
    for number, line in enumerate(text.splitlines(), 1):
        head = _FUNCTION.match(line)
        if head:
            function, operator, depth = own_name(head[1]), None, 0
        loop = _LOOP.match(line)
        if operator is None and loop:
            operator = next((name for prefix, name in prefixes.items() if loop[1].startswith(prefix)), None)
            outside = depth
        if function:
            owners[number] = operator or _function_owner(function)
        depth += line.count("{") - line.count("}")
        if operator and depth == outside:
            operator = None
        if depth == 0 and line == "}":
            function = None
    return owners


def _function_owner(function: str) -> str:
    if function in ("__tvm_main__", "run"):
        return CALLS
    return LOOPS if "pex_region" in function else function


def _owner(source: Source, places: Mapping[str, Mapping[int, str]]) -> str | None:
    """None for what the firmware does before and after the network runs."""
    if source.function == _CALLER:
        return CALLS
    if source.file in places:
        return places[source.file].get(source.line, CALLS)
    return None if source.file in _OWN_FILES or source.function in ("reset", "") else source.function


def _plugin_api() -> int:
    """QEMU 9 raised the version of its interface for plugins; what is used here stayed the same."""
    words = subprocess.run([EMULATOR, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)", words)
    return 1 if version is None or int(version[1]) < 9 else 2
