"""Instructions by operator where operators share functions, and those in inner loops: numbers known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tvm_pex.lowering.aot import HEADERS, SOURCES, CBuild, CPort
from tvm_pex.microtvm.bare_metal.build import compile_network, in_one_arena, link
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.microtvm.emulation import Firmware, emulate
from tvm_pex.microtvm.operator_profile import CALLS, LOOPS, Work, operator_work

FILES = Path(__file__).parent / "firmware"
SHARED = CBuild(
    files={
        f"{SOURCES}/default_lib0.c": (FILES / "shared.c").read_text(),
        f"{SOURCES}/kernels.c": (FILES / "kernels.c").read_text(),
        f"{HEADERS}/kernels.h": (FILES / "kernels.h").read_text(),
        f"{HEADERS}/tvmgen_default.h": (FILES / "tvmgen_default.h").read_text(),
    },
    workspace_bytes=0,
    constant_bytes=0,
    inputs=(CPort("order", "order", (4,), "int32"),),
    outputs=(CPort("answer", "answer", (1,), "int32"),),
    pools=(),
)
CALLED = {"conv0": 8, "conv1": 3, "long": 4, "branches": 4, "conditional": 4, "low_overhead": 4, "calls": 4}


def expected(operator: str, repeats: int, rounds: int) -> Work:
    """Of all calls, less what they take whatever the numbers; ``rounds`` are even."""
    inside = {"long": 602, "branches": 5, "conditional": 7, "low_overhead": 3, "calls": 0}.get(operator, 2) * rounds
    outside = 3 + {"low_overhead": 1, "calls": 4 * rounds}.get(operator, 0)
    calls = CALLED[operator] * repeats
    return Work(calls * (inside + outside), calls * outside)


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_shared_functions(board: str, tmp_path: Path) -> None:
    network = in_one_arena(SHARED, {}, {}, {})
    objects = compile_network(network, BOARDS[board], tmp_path)
    firmware = {
        counts: Firmware(
            link(objects, f"{counts}.elf", stack_bytes=4096, count_instructions=counts),
            BOARDS[board], SHARED.inputs, SHARED.outputs, 4096, counts,
        )
        for counts in (False, True)
    }  # fmt: skip
    rests = []
    orders = ((2, 2, 2, 2), (2, 50, 2, 2), (2, 2, 300, 20), (9, 30, 2, 1000))
    for order in orders:
        inputs = {"order": np.array([order], np.int32)}
        work = operator_work(firmware[False], SHARED, list(CALLED), inputs, timeout=300)
        assert work.keys() == {*CALLED, CALLS, LOOPS}
        (instructions,) = emulate(firmware[True], inputs, timeout=300).instructions
        assert sum(each.instructions for each in work.values()) == instructions
        known = {name: expected(name, *(order[:2] if name == "conv0" else order[2:])) for name in CALLED}
        rest = {name: less(each, known.get(name, Work(0, 0))) for name, each in work.items()}
        assert all(each.instructions == each.outside_inner_loops < 100 for each in rest.values())
        rests.append(rest)
    assert rests == rests[:1] * len(orders)


def less(work: Work, known: Work) -> Work:
    return Work(work.instructions - known.instructions, work.outside_inner_loops - known.outside_inner_loops)
