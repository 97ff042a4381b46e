"""Instructions by operator: QEMU counts each instruction, and the debug information tells whose work it was.

The C of a region names in its loops' variables whose work they do. An instruction counts for the operator in whose loop
its line lies; the optimiser moves some out of their loop, and those count for the loops around. What is called there,
functions that all operators share or those of the C library, counts for the operator in whose loop the call lies.
Operators outside the regions are functions of their own. Nothing is added to the firmware: the sum is what the same
firmware executes without being watched.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm_pex.lowering.aot import SOURCES, CBuild, own_name
from tvm_pex.lowering.kernels import loop_name
from tvm_pex.microtvm.elf import Function, SourceMap
from tvm_pex.microtvm.emulation import Firmware
from tvm_pex.microtvm.executed_blocks import executed_blocks
from tvm_pex.microtvm.inner_loops import inner_loops
from tvm_pex.port_files import Array

_MAIN, _RUN = "main.c", "run_network"
_GENERATED = "tvmgen_default_"
_FUNCTION = re.compile(r"^(?:TVM_DLL|static .*) \w+ (\w+)\(.*\{$")
_LOOP = re.compile(r"^ *for \(int32_t (\w+) = 0;")
LOOPS = "(loops)"
CALLS = "(calls)"


@dataclass(frozen=True)
class Work:
    """Executed instructions, and those of them that lie outside inner loops (``inner_loops`` says what these are)."""

    instructions: int
    outside_inner_loops: int


def operator_work(
    firmware: Firmware, build: CBuild, operators: Collection[str], inputs: Mapping[str, Array], *, timeout: float
) -> dict[str, Work]:
    """What was executed by operator, in the order of the C, for one set of ``inputs``.

    ``firmware`` is one that does not count itself. ``operators`` are the names of those in regions; others go by the
    name of their function. Raises EmulationError where the run does not end as it should.
    """
    source_map = SourceMap(firmware.elf)
    callers = [function for function in source_map.functions if _is_caller(source_map, function)]
    blocks = executed_blocks(firmware, callers, inputs, timeout=timeout)
    inner = inner_loops(blocks, source_map.function)
    places = {
        Path(path).name: line_owners(text, operators) for path, text in build.files.items() if path.startswith(SOURCES)
    }
    owner_of = functools.cache(lambda address: _owner(source_map, places, address))
    total: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for block in blocks:
        for call, executed in block.executed.items():
            for address in block.addresses:
                owner = owner_of(address if call is None else call)
                if owner is not None:
                    total[owner] += executed
                    outside[owner] += executed if address not in inner else 0
    order = dict.fromkeys([*(owner for owners in places.values() for owner in owners.values()), *sorted(total)])
    return {owner: Work(total[owner], outside[owner]) for owner in order if total[owner]}


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


def _is_caller(source_map: SourceMap, function: Function) -> bool:
    """Is what it calls its work? The firmware's own functions show where the network's run begins and ends."""
    return function.name.startswith(_GENERATED) or source_map.at(function.begin).file == _MAIN


def _owner(source_map: SourceMap, places: Mapping[str, Mapping[int, str]], address: int) -> str | None:
    """Of an instruction in a caller; None for what the firmware does before and after the network runs."""
    source = source_map.at(address)
    if source.function.startswith(_GENERATED):
        # The compiler may have made several functions of one: NAME.part.0.
        function = own_name(source.function).split(".")[0]
        return places.get(source.file, {}).get(source.line, _function_owner(function))
    return CALLS if source.function == _RUN else None
