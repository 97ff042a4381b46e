"""Is the compiled network the same function as the model? Both are run on the host and every output is compared.

Integers must have the same bytes. Floats may differ by ``TOLERANCE``, relative to the range of the output in all runs,
because float sums depend on their order.

The reference is the same Relay module built by stock TVM for target c, compiled by the same compiler and run by the
same harness, each in an arena of its own. Its speed and memory are of no interest, so passes that cost much time and
change no result are left out; the baseline that memory is compared with has them (``stock_baseline``).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.frontend.tflite_model import Model, Port
from tvm_pex.frontend.values import op_name
from tvm_pex.lowering.aot import POOL, CBuild, build_c
from tvm_pex.pools import Place, PoolUse
from tvm_pex.port_files import Array
from tvm_pex.verification.host_run.run import HostRun, Pushes, compile_host, run_host

TOLERANCE = 1e-5
DISPENSABLE = ("FoldConstant", "SimplifyExpr")
"""Passes that take most of the time of a build, an expression after another, and change nothing that is computed."""


class Compiled(Protocol):
    """What verify needs of a compiled model: its C, its memory pools and where the ports lie in them."""

    @property
    def build(self) -> CBuild: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def pools(self) -> tuple[PoolUse, ...]: ...
    @property
    def input_places(self) -> Mapping[str, Place]: ...
    @property
    def output_places(self) -> Mapping[str, Place]: ...


@dataclass(frozen=True)
class Verification:
    """``exact``: every output of all ``inputs`` runs was the same. ``max_abs_diff`` is in the output's own units.

    ``tolerance`` is what float outputs were allowed, None if no output differed in any byte or none is a float.

    ``arena_bytes`` are those of all ``pools`` together, each of which had exactly its ``peak_bytes``.
    ``guard_intact``: nothing outside the pools and the ports' own buffers was written; ``guard_faults`` says where.
    ``undefined_shift_channels``: channels whose requantise stock TVM writes with a shift that C does not define. The
    reference runs with a definition of these: their mathematical result. ``pushes``: how a streamed input came.
    """

    exact: bool
    inputs: int
    arena_bytes: int
    pools: tuple[PoolUse, ...]
    guard_intact: bool
    max_abs_diff: float
    undefined_shift_channels: int
    guard_faults: tuple[str, ...] = ()
    tolerance: float | None = None
    pushes: Pushes | None = None

    @property
    def passed(self) -> bool:
        return self.exact and self.guard_intact


def verify(
    model: Model, compiled: Compiled, *, inputs: int = 20, seed: int = 0, sanitize: bool = False
) -> Verification:
    """Compare ``compiled`` with stock TVM on ``inputs`` inputs; ``sanitize`` compiles with ASan and UBSan.

    Raises HostError when the host cannot compile or run the C, or when a sanitizer finds something.
    """
    reference, undefined = reference_build(model)
    samples = sample_inputs(model, inputs, seed)
    expected = _run(reference, samples, {POOL: reference.workspace_bytes}, {}, {}, sanitize=False)
    actual = run_compiled(compiled, samples, sanitize=sanitize)
    pairs = [
        (expected.outputs[one.name], actual.outputs[other.name])
        for one, other in zip(reference.outputs, compiled.build.outputs, strict=True)
    ]
    return Verification(
        exact=all(same(one, other) for one, other in pairs),
        inputs=inputs,
        arena_bytes=compiled.arena_bytes,
        pools=compiled.pools,
        guard_intact=actual.guard_intact,
        max_abs_diff=max(largest_difference(one, other) for one, other in pairs),
        undefined_shift_channels=undefined,
        guard_faults=actual.guard_faults,
        tolerance=TOLERANCE if any(differs_as_float(one, other) for one, other in pairs) else None,
        pushes=actual.pushes,
    )


def reference_build(model: Model, without: Sequence[str] = DISPENSABLE) -> tuple[CBuild, int]:
    """The model as stock TVM builds it ``without`` some passes, and how many channels had to be given a defined shift.

    Constants that are not folded lie in its workspace.
    """
    main, undefined = define_shifts(model.mod["main"])
    return build_c(tvm.IRModule.from_expr(main), disabled_pass=without), undefined


def reference_outputs(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What stock TVM's program answers on the host. Raises HostError."""
    build, _ = reference_build(model)
    return dict(_run(build, inputs, {POOL: build.workspace_bytes}, {}, {}, sanitize=False).outputs)


def run_compiled(compiled: Compiled, inputs: Mapping[str, Array], *, sanitize: bool = False) -> HostRun:
    """The program on the host, its pools between guard bytes. Raises HostError."""
    pools = {pool.name: pool.peak_bytes for pool in compiled.pools}
    places = compiled.input_places, compiled.output_places
    return _run(compiled.build, inputs, pools, *places, sanitize=sanitize)


def sample_inputs(model: Model, count: int, seed: int) -> dict[str, Array]:
    """For each input port an array of ``count`` samples: one random, the extremes, the zero point, then random ones."""
    generator = np.random.default_rng(seed)
    entries = _table_entries(model.mod["main"])
    return {port.name: _samples(port, count, generator, entries.get(port.name)) for port in model.inputs}


def _table_entries(main: Any) -> dict[str, int]:
    """For each input that is an index into a table: the table's entries. TVM reads beyond them unasked."""
    found: dict[str, int] = {}

    def look(expr: Any) -> None:
        if op_name(expr) != "take":
            return
        table, index = expr.args
        while op_name(index) in ("cast", "reshape"):
            index = index.args[0]
        if isinstance(index, relay.Var):
            shape, axis = table.checked_type.shape, expr.attrs.axis
            entries = math.prod(int(size) for size in shape) if axis is None else int(shape[int(axis)])
            found[str(index.name_hint)] = min(entries, found.get(str(index.name_hint), entries))

    relay.analysis.post_order_visit(main, look)
    return found


def _samples(port: Port, count: int, generator: np.random.Generator, entries: int | None) -> Array:
    """Random samples; whole numbers below ``entries`` for an index into a table."""
    dtype = np.dtype(port.dtype)
    shape = (count, *port.shape)
    low: float
    high: float
    if dtype.kind == "f" and entries is None:  # the file does not say which floats occur
        low, high = -1.0, 1.0
        values: Any = generator.uniform(low, high, shape).astype(dtype)
    else:
        low, high = _integer_range(dtype) if entries is None else (0, entries - 1)
        values = generator.integers(low, high, shape, dtype=np.int64, endpoint=True).astype(dtype)
    for index, constant in enumerate((low, high, port.zero_point or 0), start=1):
        values[index : index + 1] = constant
    result: Array = values
    return result


def _integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _run(
    build: CBuild,
    samples: Mapping[str, Array],
    pools: Mapping[str, int],
    input_places: Mapping[str, Place],
    output_places: Mapping[str, Place],
    *,
    sanitize: bool,
) -> HostRun:
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as folder:
        program = compile_host(build, Path(folder), sanitize=sanitize)
        return run_host(program, samples, pools=pools, input_places=input_places, output_places=output_places)


def differs_as_float(expected: Array, actual: Array) -> bool:
    """True for floats that are not the same bytes."""
    return expected.dtype.kind == "f" and expected.tobytes() != actual.tobytes()


def same(expected: Array, actual: Array) -> bool:
    """True for the same bytes, and for floats within the tolerance."""
    if not differs_as_float(expected, actual):
        return expected.tobytes() == actual.tobytes()
    finite = expected[np.isfinite(expected)].astype(np.float64)
    span = float(np.ptp(finite)) if finite.size else 0.0
    return largest_difference(expected, actual) <= TOLERANCE * span


def largest_difference(one: Array, other: Array) -> float:
    """0 exactly where the bytes are equal or the numbers compare equal; infinite against a NaN."""
    if one.dtype.kind == "f":
        difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
        same_nan = np.isnan(one) & np.isnan(other)
        return float(np.nan_to_num(np.where(same_nan, 0.0, difference), nan=np.inf).max(initial=0.0))
    return int(np.abs(one.astype(np.int64) - other.astype(np.int64)).max(initial=0))
