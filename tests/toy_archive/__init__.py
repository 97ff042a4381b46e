"""A Model Library Format archive made without TVM, of a network that builds in a moment."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

FILES = Path(__file__).parent
INSIDE, OUTSIDE = {"pool": "arena", "offset": 112}, {"pool": None, "offset": None}
X = {"name": "x:0", "identifier": "x", "shape": [1, 60, 10], "dtype": "int8", "size": 600, **INSIDE}
SIDE = {"name": "side", "identifier": "side", "shape": [20], "dtype": "int8", "size": 20, **OUTSIDE}
Y = {"name": "y", "identifier": "y", "shape": [600], "dtype": "int8", "size": 600, **INSIDE}
POOLS = [{"name": "arena", "peak_bytes": 997}]
ARENA: dict[str, Any] = {"bytes": 997, "alignment": 16, "pools": POOLS, "inputs": [X, SIDE], "outputs": [Y]}


def write_toy_archive(path: Path, arena: dict[str, Any] | None = ARENA, names: dict[str, str] | None = None) -> Path:
    module = {"model_name": "toy"} if arena is None else {"model_name": "toy", "arena": arena}
    files = {
        "./metadata.json": json.dumps({"version": 7, "modules": {"default": module}}),
        "./codegen/host/include/tvmgen_default.h": (FILES / "tvmgen_default.h").read_text(),
        "./codegen/host/src/network.c": (FILES / "network.c").read_text(),
        "./runtime/include/empty.h": "",
        **(names or {}),
    }
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def toy_inputs(seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {port["name"]: draw.integers(-128, 100, port["shape"], np.int8) for port in (X, SIDE)}


def toy_output(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What the network computes, by numpy."""
    x, side = inputs["x:0"].ravel().astype(int), inputs["side"].astype(int)
    return (3 * x + np.resize(side, x.shape)).astype(np.int8)
