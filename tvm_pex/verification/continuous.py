"""Is a network over a stream the same function as the network on each window of it? All are run and compared."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvm_pex.compiler import compile_model
from tvm_pex.continuous import ContinuousModel
from tvm_pex.lowering.aot import HEADERS, RUNTIME_HEADERS, SOURCES
from tvm_pex.options import PlanOptions
from tvm_pex.port_files import Array, read_runs
from tvm_pex.verification.host_run.run import FLAGS, SANITIZE, HostError
from tvm_pex.verification.verify import reference_outputs, run_compiled, same

_PROGRAM = Path(__file__).parent / "host_run" / "continuous.c"


@dataclass(frozen=True)
class ContinuousVerification:
    """``exact``: the outputs of all ``windows`` in ``rows`` rows were those that stock TVM gives of each alone."""

    exact: bool
    windows: int
    rows: int
    memory_bytes: int


def verify_continuous(
    compiled: ContinuousModel,
    rows: Array,
    options: PlanOptions = PlanOptions(),
    *,
    seed: int = 0,
    sanitize: bool = False,
) -> ContinuousVerification:
    """Compare on a stream of ``rows``, of the shape (count, *row). Raises HostError.

    Where ``options`` round as TFLite does, with what the network gives of each window alone when compiled like that.
    """
    split = compiled.split
    results = run_continuous(compiled, rows, seed=seed, sanitize=sanitize)
    windows = [rows[at : at + split.rows] for at in range(0, len(rows) - split.rows + 1, split.hop)]
    port = split.model.inputs[0]
    samples = {port.name: np.stack(windows).reshape(-1, *port.shape)}
    if options.rounding == "tvm":
        expected = reference_outputs(split.model, samples)
    else:
        alone = compile_model(split.model, PlanOptions(core=options.core, rounding=options.rounding))
        expected = dict(run_compiled(alone, samples).outputs)
    exact = all(
        same(one, other[: len(windows)]) for one, other in zip(expected.values(), results.values(), strict=True)
    )
    return ContinuousVerification(exact, len(windows), len(rows), compiled.memory_bytes)


def run_continuous(
    compiled: ContinuousModel, rows: Array, *, seed: int = 0, sanitize: bool = False
) -> dict[str, Array]:
    """The outputs of all windows, by port, pushed in portions of random size. Raises HostError."""
    build = compiled.build
    with tempfile.TemporaryDirectory(prefix="tvm_pex_") as name:
        folder = Path(name)
        build.write(folder)
        sizes = ",".join(str(port.bytes) for port in build.outputs)
        sources = [path for path in build.files if path.startswith(SOURCES)]
        flags = [*FLAGS, *(SANITIZE if sanitize else ()), f"-DOUTPUT_BYTES={{{sizes}}}"]
        includes = [f"-I{HEADERS}", f"-I{RUNTIME_HEADERS}"]
        _run(["gcc", *flags, *includes, *sources, str(_PROGRAM), "-lm", "-o", "continuous"], folder)
        (folder / "rows").write_bytes(np.ascontiguousarray(rows).tobytes())
        _run(["./continuous", "rows", "results", str(seed)], folder)
        count = (folder / "results").stat().st_size // sum(port.bytes for port in build.outputs)
        return read_runs(folder / "results", build.outputs, count)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, check=False, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise HostError(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()}")
