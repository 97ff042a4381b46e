"""A Markdown table of executed instructions on emulated boards: tvm_pex beside stock TVM, in the same firmware."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tvm_pex.cli.errors import BadInput, FirmwareFailed
from tvm_pex.cli.planning import Request, Step, compile_request, progress
from tvm_pex.microtvm.boards import BOARDS, Board
from tvm_pex.microtvm.tools import MissingTools, check_tools
from tvm_pex.options import PlanOptions

if TYPE_CHECKING:
    from tvm_pex.frontend.tflite_model import Model
    from tvm_pex.lowering.aot import CBuild
    from tvm_pex.microtvm.bare_metal.build import Network
    from tvm_pex.verification.firmware import FirmwareReport

LEVELS = ("-O2", "-O3")
USUAL = ("mps2-an385", "mps2-an386", "mps3-an547")
ROOM = 1.25  # times the least arena
HEADING = (
    "| network | core | least arena | instructions | stack | flash | arena within 1.25 times it | instructions | stack "
    "| flash | stock TVM | flash | ours / stock |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


@dataclass(frozen=True)
class Measured:
    """The run of fewest instructions of those at several levels of optimisation. ``exact``: all of them were."""

    arena_bytes: int
    instructions: int
    stack_bytes: int
    flash_bytes: int
    exact: bool

    def __str__(self) -> str:
        sizes = (self.arena_bytes, self.instructions, self.stack_bytes, self.flash_bytes)
        return " | ".join(f"{size:,}" for size in sizes)


@dataclass(frozen=True)
class Row:
    network: str
    board: Board
    least: Measured
    within: Measured
    stock: Measured

    @property
    def exact(self) -> bool:
        return all(measured.exact for measured in (self.least, self.within, self.stock))

    def __str__(self) -> str:
        stock = f"{self.stock.instructions:,} | {self.stock.flash_bytes:,}"
        ratio = self.within.instructions / self.stock.instructions
        return f"| {self.network} | {self.board.core} | {self.least} | {self.within} | {stock} | {ratio:.3f} |"


def fewest(reports: Sequence[FirmwareReport]) -> Measured:
    best = min(reports, key=lambda report: report.instructions)
    exact = all(report.exact for report in reports)
    return Measured(best.arena_bytes, best.instructions, best.stack_bytes, best.sections.flash_bytes, exact)


def rows(path: Path, boards: Sequence[Board], options: PlanOptions, step: Step) -> Iterator[Row]:
    """One row a board. Errors are the commands' own."""
    from tvm_pex.verification.stock_baseline import stock_plans

    stock: list[Network] = []
    for board in boards:
        request = Request(path, options, as_json=False).on(board.cpu)
        model, least, arena_bytes = _compiled(request, step)
        budget = replace(request.options, ram=int(ROOM * arena_bytes))
        _, within, _ = _compiled(replace(request, options=budget), step)
        if not stock:
            step(f"{path.stem}: building with stock TVM", None, None)
            stock = [in_an_arena(plan.build) for plan in stock_plans(model.mod)]
        yield Row(path.stem, board, *(_run(model, networks, board, step) for networks in ([least], [within], stock)))


def in_an_arena(build: CBuild) -> Network:
    """Stock TVM's own: the workspace, and each input and output behind it."""
    from tvm_pex.lowering.aot import POOL
    from tvm_pex.microtvm.bare_metal.build import in_one_arena

    return in_one_arena(build, {POOL: build.workspace_bytes}, {}, {})


def _compiled(request: Request, step: Step) -> tuple[Model, Network, int]:
    model, compiled = compile_request(request, step)
    from tvm_pex.microtvm.bare_metal.build import in_one_arena

    build, places = compiled.build, (compiled.input_places, compiled.output_places)
    return model, in_one_arena(build, compiled.pool_bytes, *places), compiled.arena_bytes


def _run(model: Model, networks: Sequence[Network], board: Board, step: Step) -> Measured:
    """All of them at all levels, on one random input."""
    from tvm_pex.microtvm.bare_metal.build import FirmwareError
    from tvm_pex.microtvm.emulation import EmulationError
    from tvm_pex.verification.firmware import Task, run_firmware
    from tvm_pex.verification.verify import reference_outputs, sample_inputs

    inputs = sample_inputs(model, 1, 0)
    task = Task(board, board, inputs, reference_outputs(model, inputs))
    reports = []
    for network in networks:
        for level in LEVELS:
            step(f"{model.name} on {board.name}, {level}", None, None)
            try:
                reports.append(run_firmware(network, replace(task, optimize=level)))
            except (FirmwareError, EmulationError) as error:
                raise FirmwareFailed(f"{model.name} on {board.name}: {error}") from None
    return fewest(reports)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL.tflite...")
@click.option(
    "--board",
    "boards",
    multiple=True,
    type=click.Choice(list(BOARDS)),
    default=USUAL,
    show_default=True,
    help="What to emulate; may be repeated.",
)
@click.option("--quantized-io", is_flag=True, help="As for tvm-pex: float inputs and outputs are left to the caller.")
def main(models: tuple[Path, ...], boards: tuple[str, ...], quantized_io: bool) -> None:
    """Print a Markdown table of executed instructions: the least memory, the fastest within 1.25 times that, stock TVM.

    Each figure is the fewest of -O2 and -O3; of stock TVM, of all configurations that it builds. Every output byte of
    every run is compared with stock TVM's on this machine.

    Exit status: 0 all are exact; 1 not so; 2 bad input or a missing tool.

    \b
    Examples:
      table.py model.tflite
      table.py --board mps3-an547 a.tflite b.tflite
    """
    try:
        check_tools()
    except MissingTools as error:
        raise BadInput(str(error)) from None
    exact = True
    click.echo("\n".join(HEADING))
    with progress() as step:
        for path in models:
            for row in rows(path, [BOARDS[name] for name in boards], PlanOptions(quantized_io=quantized_io), step):
                click.echo(str(row))
                exact = exact and row.exact
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
