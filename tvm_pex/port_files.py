"""Files through which compiled programs, on the host or on a board, get their inputs and give their outputs.

A file holds the bytes of all ports of run 0, one after the other, then of run 1, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.lowering.aot import CPort

Array = npt.NDArray[Any]


def write_runs(path: Path, ports: Sequence[CPort], values: Mapping[str, Array]) -> int:
    """The number of runs: ``values`` maps a port's name to an array of shape (runs, *port shape).

    Raises ValueError for values of another shape or type than the port's.
    """
    runs = {_runs(values[port.name], port) for port in ports}
    if len(runs) != 1:
        raise ValueError(f"inputs have different numbers of runs: {sorted(runs)}")
    (count,) = runs
    with path.open("wb") as file:
        for run in range(count):
            for port in ports:
                file.write(values[port.name][run].tobytes())
    return count


def read_runs(path: Path, ports: Sequence[CPort], runs: int) -> dict[str, Array]:
    """What ``write_runs`` takes."""
    whole = np.fromfile(path, np.uint8).reshape(runs, sum(port.bytes for port in ports))
    values = {}
    at = 0
    for port in ports:
        part = np.ascontiguousarray(whole[:, at : at + port.bytes])
        values[port.name] = part.view(port.dtype).reshape(runs, *port.shape)
        at += port.bytes
    return values


def _runs(values: Array, port: CPort) -> int:
    if values.shape[1:] != port.shape or values.dtype != np.dtype(port.dtype):
        raise ValueError(f"{port.name}: {values.dtype}{values.shape} is not runs of {port.dtype}{port.shape}")
    return int(values.shape[0])
