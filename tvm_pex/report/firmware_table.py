"""What ``tvm-pex run`` answers: as JSON, and as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tvm_pex.report.tables import console

if TYPE_CHECKING:
    from tvm_pex.microtvm.boards import Board
    from tvm_pex.microtvm.operator_profile import Work
    from tvm_pex.verification.firmware import FirmwareReport

_SHOWN = 10  # numbers of an output
_STEPS = (
    ("between two rows, at most", "worst_step_instructions"),
    ("between two rows, mean", "mean_step_instructions"),
    ("after the last row", "last_step_instructions"),
)


def as_json(report: FirmwareReport, planned: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Bytes, counts, and the first run's outputs as flat lists; ``planned`` are the plan's ``operators``."""
    answer: dict[str, Any] = {
        "exact": report.exact,
        "tolerance": report.tolerance,
        "arena_bytes": report.arena_bytes,
        "stack_bytes": report.stack_bytes,
        "ram_bytes": report.sections.ram_bytes,
        "other_ram_bytes": report.other_ram_bytes,
        "flash_bytes": report.sections.flash_bytes,
        "instructions": report.instructions,
        "ram": report.sections.ram,
        "flash": report.sections.flash,
    }
    if len(report.steps) > 1:
        *between, last = report.steps
        answer |= {
            "worst_step_instructions": max(between),
            "mean_step_instructions": sum(between) // len(between),
            "last_step_instructions": last,
        }
    if report.operators is not None:
        plans = {plan["operator"]: plan for plan in planned}
        answer["operators"] = [_operator(name, work, plans.get(name, {})) for name, work in report.operators.items()]
    return answer | {"outputs": {name: values[0].reshape(-1).tolist() for name, values in report.outputs.items()}}


def _operator(name: str, work: Work, plan: dict[str, Any]) -> dict[str, Any]:
    """None for what it has not: multiply-accumulates, or a plan."""
    macs = plan.get("macs") or None
    return {
        "operator": name,
        "instructions": work.instructions,
        "predicted": plan.get("instructions"),
        "macs": macs,
        "instructions_per_mac": macs and work.instructions / macs,
        "outside_inner_loops": work.outside_inner_loops / work.instructions,
    }


def show(answer: dict[str, Any], device: Board) -> None:
    """``answer`` has the keys of ``tvm-pex run --json``."""
    out = console()
    columns = [answer] + ([answer["stock"]] if "stock" in answer else [])
    heading = f"{answer['model']} on {device.name}, {device.core}, {answer['optimize']}"
    table = Table(heading, title_justify="left")
    for name in ("tvm_pex", "stock TVM, best plan")[: len(columns)]:
        table.add_column(name, justify="right")
    table.add_row("exact", *(_exact(column) for column in columns))
    for label, key in (
        ("arena, bytes", "arena_bytes"),
        ("stack in use, bytes", "stack_bytes"),
        ("other RAM, bytes", "other_ram_bytes"),
        (f"RAM, of {device.ram.bytes:,}", "ram_bytes"),
        (f"flash, of {device.flash.bytes:,}", "flash_bytes"),
        ("instructions", "instructions"),
        *(_STEPS if "worst_step_instructions" in answer else ()),
    ):
        table.add_row(label, *(_number(column, key) for column in columns))
    out.print(table)
    for column in columns:
        if "reason" in column:
            out.print(f"stock TVM: {column['reason']}", soft_wrap=True)
    for memory in ("ram", "flash"):
        out.print(f"{memory} by section: " + ", ".join(f"{name} {size:,}" for name, size in answer[memory].items()))
    if "operators" in answer:
        out.print(_operators(answer))
    for name, values in answer["outputs"].items():
        numbers = " ".join(f"{value:g}" for value in values[:_SHOWN])
        out.print(f"{name}: {numbers}" + (f" ... ({len(values):,} in all)" if len(values) > _SHOWN else ""))


def _exact(column: dict[str, Any]) -> str:
    if "exact" not in column:
        return "does not run"
    note = f", within {column['tolerance']:g}" if column["tolerance"] and column["exact"] else ""
    return ("yes" if column["exact"] else "NO") + note


def _number(column: dict[str, Any], key: str) -> str:
    return f"{column[key]:,}" if key in column else ""


def _operators(answer: dict[str, Any]) -> Table:
    """The last row has the sums; the instructions per multiply-accumulate are those of the operators that have some."""
    rows = answer["operators"]
    table = Table("operator", title="Executed instructions by operator", title_justify="left")
    for heading in ("instructions", "share", "predicted", "MACs", "per MAC", "outside inner loops"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row["operator"], *_work(row, answer["instructions"]))
    multiplying = [row for row in rows if row["macs"]]
    macs = sum(row["macs"] for row in multiplying)
    whole = {
        "instructions": answer["instructions"],
        "predicted": sum(row["predicted"] or 0 for row in rows),
        "macs": macs,
        "instructions_per_mac": macs and sum(row["instructions"] for row in multiplying) / macs,
        "outside_inner_loops": sum(row["outside_inner_loops"] * row["instructions"] for row in rows)
        / answer["instructions"],
    }
    table.add_section()
    table.add_row("all", *_work(whole, answer["instructions"]))
    return table


def _work(row: dict[str, Any], instructions: int) -> tuple[str, ...]:
    return (
        f"{row['instructions']:,}",
        f"{100 * row['instructions'] / instructions:.1f} %",
        f"{row['predicted']:,}" if row["predicted"] is not None else "",
        f"{row['macs']:,}" if row["macs"] else "",
        f"{row['instructions_per_mac']:.2f}" if row["macs"] else "",
        f"{100 * row['outside_inner_loops']:.1f} %",
    )
