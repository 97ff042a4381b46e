"""What the commands do with ``--hop``: continuous recognition."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Request, Step, load_request, print_json
from tvm_pex.report.tables import console

if TYPE_CHECKING:
    from tvm_pex.continuous import ContinuousModel
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.continuous import ContinuousVerification

_ROWS = (
    ("rows of a window", "window_rows"),
    ("rows of a hop", "hop"),
    ("a row, outside the memory, bytes", "row_bytes"),
    ("memory, bytes", "memory_bytes"),
    ("of it rows that windows share", "shared_bytes"),
    ("instructions of a hop", "hop_instructions"),
    ("instructions of a window that shares nothing", "window_instructions"),
)


def compile_hops(request: Request, step: Step) -> ContinuousModel:
    """Load and compile. What is wrong with the input becomes BadInput."""
    model = load_request(request, step)
    from tvm_pex.continuous import compile_continuous
    from tvm_pex.frontend.quantized_io import leave_quantisation
    from tvm_pex.frontend.windows import NothingMovesOn
    from tvm_pex.scheduling.segments import Unschedulable

    assert request.hop is not None
    step("finding the schedules", None, None)
    try:
        if request.options.quantized_io:
            model = leave_quantisation(model)
        return compile_continuous(model, request.hop, request.options)
    except (NothingMovesOn, Unschedulable) as error:
        raise BadInput(f"{request.path}: windows share nothing: {error}") from None


def report(compiled: ContinuousModel) -> dict[str, Any]:
    """The keys of ``plan --hop --json``."""
    split = compiled.split
    return {
        "model": split.model.name,
        "window_rows": split.rows,
        "hop": split.hop,
        "row_bytes": compiled.build.inputs[0].bytes,
        "memory_bytes": compiled.memory_bytes,
        "shared_bytes": compiled.window_bytes,
        "once_for_each_row": list(split.moving),
        "once_for_each_window": list(split.fixed),
        "reason": split.reason,
        "hop_instructions": compiled.hop_instructions,
        "window_instructions": compiled.window_instructions,
    }


def show_plan(request: Request, compiled: ContinuousModel) -> None:
    answer = report(compiled)
    if request.as_json:
        print_json(answer)
        return
    table = Table(f"{answer['model']}: continuous recognition", "", title_justify="left")
    for label, key in _ROWS:
        table.add_row(label, f"{answer[key]:,}")
    table.add_row("once for each row", " ".join(answer["once_for_each_row"]))
    later = " ".join(answer["once_for_each_window"]) or "what TVM runs"
    table.add_row("once for each window", f"{later}: {answer['reason']}")
    console().print(table)


def verify_hops(
    compiled: ContinuousModel, options: PlanOptions, windows: int, seed: int, sanitize: bool
) -> ContinuousVerification:
    """On random rows for as many windows. Raises HostError."""
    from tvm_pex.verification.continuous import verify_continuous

    port = compiled.build.inputs[0]
    count = compiled.split.rows + (windows - 1) * compiled.split.hop
    generator, dtype = np.random.default_rng(seed), np.dtype(port.dtype)
    if dtype.kind == "f":
        rows = generator.uniform(-1, 1, (count, *port.shape)).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        rows = generator.integers(limits.min, limits.max, (count, *port.shape), dtype, endpoint=True)
    return verify_continuous(compiled, rows, options, seed=seed, sanitize=sanitize)


def show_verification(request: Request, compiled: ContinuousModel, result: ContinuousVerification) -> None:
    answer = {"model": compiled.split.model.name, **dataclasses.asdict(result)}
    if request.as_json:
        print_json(answer)
        return
    alone = "stock TVM" if request.options.rounding == "tvm" else "the network on it alone"
    table = Table(f"{answer['model']}: each window compared with {alone}", "", title_justify="left")
    table.add_row("exact", "yes" if result.exact else "NO")
    for key in ("windows", "rows", "memory_bytes"):
        table.add_row(key.replace("_", ", "), f"{answer[key]:,}")
    console().print(table)


def write_hops(request: Request, compiled: ContinuousModel, output: Path) -> None:
    """C sources, headers, and the plan as metadata.json. Raises OSError."""
    from tvm_pex.files import write_whole
    from tvm_pex.microtvm.archive import tar_of

    metadata = json.dumps({"continuous": report(compiled)}, indent=2) + "\n"
    files = {name: text.encode() for name, text in {**compiled.build.files, "metadata.json": metadata}.items()}
    try:
        write_whole(output, tar_of(files))
    except OSError as error:
        raise BadInput(f"{output}: cannot be written: {error.strerror}") from None
    show_plan(request, compiled)
