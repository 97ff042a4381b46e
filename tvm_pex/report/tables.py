"""Tables for people: what ``tvm-pex`` prints when it does not print JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tvm_pex.rounding import ROUNDINGS

if TYPE_CHECKING:
    from tvm_pex.lowering.aot import CBuild
    from tvm_pex.verification.tflite_agreement import Agreements
    from tvm_pex.verification.verify import Verification

_WIDTH = 100  # of output that goes to a file or a pipe


def show_plan(report: dict[str, Any], maps: Mapping[str, str]) -> None:
    """``report`` has the keys of ``tvm-pex plan --json``; ``maps``, by name of the pool, are printed as they are."""
    out = console()
    out.print(_memory(report))
    _show_pools(out, report["pools"])
    segments = Table("segment", "axes", title="What runs together", title_justify="left")
    segments.add_column("peak, bytes", justify="right")
    for segment in report["segments"]:
        axes = ", ".join(segment["axes"]) or "whole tensors"
        axes += f", {segment['strips']} strips" if segment["strips"] > 1 else ""
        segments.add_row(" ".join(segment["operators"]), axes, f"{segment['peak_bytes']:,}")
    out.print(segments)
    operators = Table("operator", title="Bytes in use while it runs", title_justify="left")
    operators.add_column("layer by layer", justify="right")
    operators.add_column("arena", justify="right")
    for operator in report["operators"]:
        operators.add_row(operator["operator"], f"{operator['layer_bytes']:,}", f"{operator['arena_bytes']:,}")
    out.print(operators)
    if report["refused"]:
        refused = Table("operator", "reason", title="Left to stock TVM", title_justify="left")
        for refusal in report["refused"]:
            refused.add_row(refusal["operator"], refusal["reason"])
        out.print(refused)
    if "pareto" in report:
        front = Table("arena, bytes", title="Memory and instructions, stock operators left out", title_justify="left")
        front.add_column("instructions", justify="right")
        for point in report["pareto"]:
            front.add_row(f"{point['arena_bytes']:,}", f"{point['instructions']:,}")
        out.print(front)
    for name, arena_map in maps.items():
        out.print(f"{'Arena map' if len(maps) == 1 else f'Map of {name}'}: bytes downwards, time to the right")
        out.print(arena_map, soft_wrap=True)


def show_archive(path: Path, report: dict[str, Any], build: CBuild) -> None:
    """What was written, and the memory that it needs."""
    out = console()
    table = _memory(report)
    table.add_row("constants (read-only)", f"{build.constant_bytes:,}")
    out.print(table)
    _show_pools(out, report["pools"])
    out.print(f"wrote {path}", soft_wrap=True)


def show_verification(name: str, result: Verification, agreements: Agreements | None = None) -> None:
    """One row for each finding, then where guard bytes were written; ``agreements`` where TFLite is the reference."""
    out = console()
    other = f"TFLite's reference kernels ({agreements.runtime})" if agreements else "stock TVM"
    table = Table(f"{name}: compared with {other}", "", title_justify="left")
    tolerance = f", within {result.tolerance:g} of the output's range" if result.tolerance and result.exact else ""
    for label, value in (
        ("exact", ("yes" if result.exact else "NO") + tolerance),
        ("inputs", f"{result.inputs:,}"),
        ("arena, bytes", f"{result.arena_bytes:,}"),
        ("guard bytes intact", "yes" if result.guard_intact else "NO"),
        ("largest difference", f"{result.max_abs_diff:g}"),
    ):
        table.add_row(label, value)
    if not agreements:
        undefined = f"{result.undefined_shift_channels:,}"
        table.add_row("channels whose shift C leaves undefined in stock TVM", undefined)
    if result.pushes:
        counts = result.pushes
        told = f"{counts.pushes:,}; {counts.restarts:,} restarts, {counts.refused:,} calls refused as they must be"
        table.add_row("pushes of rows", told)
    out.print(table)
    if agreements:
        _show_agreements(out, agreements)
    _show_pools(out, [dataclasses.asdict(pool) for pool in result.pools])
    for fault in result.guard_faults[:10]:
        out.print(f"written outside: {fault}")


def _show_agreements(out: Console, agreements: Agreements) -> None:
    table = Table("equal to TFLite's, of elements; largest difference", title_justify="left")
    for rounding in ROUNDINGS:
        table.add_column(f"--rounding {rounding}", justify="right")
    names = " ".join(agreements.compared)
    for label, by_rounding in (
        (f"{names}, up to which all is ours", agreements.owned),
        ("outputs", agreements.outputs),
    ):
        found = (by_rounding[rounding] for rounding in ROUNDINGS)
        table.add_row(label, *(f"{each.equal_share:.2%}; {each.max_abs_diff:g}" for each in found))
    out.print(table)


def _show_pools(out: Console, pools: Sequence[dict[str, Any]]) -> None:
    """A row for each pool; nothing for the arena alone."""
    if any(pool["bytes"] is not None for pool in pools):
        table = Table("pool", title="Memory pools", title_justify="left")
        for heading in ("bytes", "used", "cost of an access", "accesses"):
            table.add_column(heading, justify="right")
        for pool in pools:
            numbers = (f"{pool[key]:,}" for key in ("bytes", "peak_bytes", "cost", "accesses"))
            table.add_row(pool["name"], *numbers)
        out.print(table)


def _memory(report: dict[str, Any]) -> Table:
    before, after = report["layer_by_layer_bytes"], report["arena_bytes"]
    table = Table(report["model"], title_justify="left")
    table.add_column("bytes", justify="right")
    for label, key in (("input", "input_bytes"), ("output", "output_bytes")):
        table.add_row(label, f"{report[key]:,}")
    table.add_row("layer by layer", f"{before:,}")
    table.add_row(f"arena ({before / after:.1f} times less)" if after else "arena", f"{after:,}")
    table.add_row("arena without input and output", f"{report['arena_without_io_bytes']:,}")
    table.add_row("no schedule without recompute needs less than", f"{report['lower_bound_bytes']:,}")
    table.add_section()
    owned, calls = report["coverage"]["calls_in_regions"], report["coverage"]["calls"]
    table.add_row("operators of Relay that run in regions", f"{owned:,} of {calls:,}")
    table.add_row("multiply-accumulates", f"{report['macs']:,}")
    executed = report["executed_macs"]
    paid = f" ({executed / report['macs']:.3f} times)" if executed > report["macs"] else ""
    table.add_row(f"multiply-accumulates executed{paid}", f"{executed:,}")
    table.add_row("instructions, by the model that --ram goes by", f"{report['instructions']:,}")
    if "stream" in report:
        _add_stream(table, report)
    table.add_row("seconds that planning took", f"{report['planning_seconds']:.1f}")
    table.add_row("seconds that TVM took, to plan every byte and to write the C", f"{report['build_seconds']:.1f}")
    return table


def _add_stream(table: Table, report: dict[str, Any]) -> None:
    stream = report["stream"]
    table.add_section()
    table.add_row(f"a row of {stream['input']}, outside the arena; {stream['rows']:,} come", f"{stream['row_bytes']:,}")
    whole = f", whole: read later by {' '.join(stream['read_later_by'])}" if stream["whole"] else ""
    table.add_row(f"held of it{whole}", f"{stream['held_bytes']:,}")
    for label, key in (
        ("instructions between two rows, at most", "worst_step_instructions"),
        ("instructions between two rows, mean", "mean_step_instructions"),
        ("instructions after the last row", "last_step_instructions"),
    ):
        table.add_row(label, f"{report[key]:,}")


def console() -> Console:
    """Plain text, of a fixed width where no terminal is."""
    plain = Console(markup=False, highlight=False)
    return plain if plain.is_terminal else Console(markup=False, highlight=False, width=_WIDTH)
