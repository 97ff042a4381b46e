"""Fashion-MNIST as numpy arrays, read from the four idx files of the data set."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

PACKAGE = "dataset-fashion-mnist"
DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
CLASSES = "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"

Bytes = npt.NDArray[np.uint8]


def load(split: Literal["train", "test"], directory: Path | None = None) -> tuple[Bytes, Bytes]:
    """Images [n, 28, 28] and labels [n]: 60,000 for training, 10,000 for testing."""
    stem = (directory or DIRECTORY) / {"train": "train", "test": "t10k"}[split]
    return read_idx(Path(f"{stem}-images-idx3-ubyte")), read_idx(Path(f"{stem}-labels-idx1-ubyte"))


def read_idx(path: Path) -> Bytes:
    """An idx file of bytes, or its ``.gz``: 0, 0, 8 (uint8), rank, the sizes (big-endian), the data."""
    packed = path.with_name(path.name + ".gz")
    if path.exists():
        content = path.read_bytes()
    elif packed.exists():
        content = gzip.decompress(packed.read_bytes())
    else:
        raise FileNotFoundError(f"{packed} is missing: install the Debian package {PACKAGE}")
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an idx file of bytes")
    rank = content[3]
    sizes = [int(size) for size in np.frombuffer(content, ">u4", rank, offset=4)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes)
