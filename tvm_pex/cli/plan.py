"""``tvm-pex plan``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tvm_pex.cli import hops
from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Request, check_output, compile_request, planning, print_json, progress, write_text
from tvm_pex.report import tables

if TYPE_CHECKING:
    from tvm_pex.compiler import CompiledModel


@click.command()
@planning
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    help="Draw the arena over time, layer by layer and as planned.",
)
@click.option("--pareto", is_flag=True, help="Show what less memory costs in instructions (also in the plot).")
def plan(request: Request, plot: Path | None, pareto: bool) -> None:
    """Show what runs together, the peak of each segment, and the arena.

    \b
    Examples:
      tvm-pex plan model.tflite
      tvm-pex plan --overwrite-input model.tflite
      tvm-pex plan --ram 64k model.tflite
      tvm-pex plan --max-overhead 1.2 model.tflite
      tvm-pex plan --pool sram=64k --pool psram=8m@10 model.tflite
      tvm-pex plan --stream-input model.tflite
      tvm-pex plan --stream-input --hop 10 model.tflite
      tvm-pex plan --plot arena.svg model.tflite
      tvm-pex plan --pareto --json model.tflite | jq .pareto
      tvm-pex plan --json model.tflite | jq .arena_bytes
    """
    if request.hop is not None:
        if plot or pareto:
            raise BadInput("--hop has neither --plot nor --pareto")
        with progress() as step:
            split = hops.compile_hops(request, step)
        hops.show_plan(request, split)
        return
    if plot:
        check_output(plot, "--plot")
    with progress() as step:
        model, compiled = compile_request(request, step)
        if pareto:
            from tvm_pex.compiler import memory_front

            options = dataclasses.replace(request.options, quantized_io=False)  # the model has its ports as asked for
            front = memory_front(model, options, lambda done, total: step("falling budgets", done, total))
            compiled.report["pareto"] = [dataclasses.asdict(point) for point in front]
    if plot:
        write_text(plot, _drawing(compiled))
    if request.as_json:
        print_json(compiled.report)
        return
    from tvm_pex.report.arena_map import arena_map

    tables.show_plan(
        compiled.report, {used.pool.name: arena_map(used.problem, used.plan) for used in compiled.memory.pools}
    )


def _drawing(compiled: CompiledModel) -> str:
    from tvm_pex.memory_planner import plan_memory
    from tvm_pex.report.arena_plot import Panel, arena_svg
    from tvm_pex.scheduling.layers import layer_problem

    before, name = layer_problem(compiled.graph), compiled.report["model"]
    pools = compiled.memory.pools
    headings = ["tvm_pex"] if len(pools) == 1 else [f"tvm_pex, {used.pool.name}" for used in pools]
    panels = (
        Panel("Layer by layer", "steps: operators", before, plan_memory(before)),
        *(Panel(h, "steps: moments of the loops", used.problem, used.plan) for h, used in zip(headings, pools)),
    )
    front = [(point["arena_bytes"], point["instructions"]) for point in compiled.report.get("pareto", ())]
    return arena_svg(f"Arena of {name}", panels, front)
