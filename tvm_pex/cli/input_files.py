"""The model's input from a file: numpy arrays, a picture, or sound."""

from __future__ import annotations

import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tvm_pex.cli.errors import BadInput

if TYPE_CHECKING:
    from tvm_pex.frontend.tflite_model import Port

Array = npt.NDArray[Any]

_IMAGES = ".png", ".jpg", ".jpeg", ".bmp"
_KINDS = ".npy", ".npz", ".wav", *_IMAGES
_FULL_SCALE = 32768  # of 16-bit samples


def check_input(path: Path) -> None:
    """Say before the long work what would fail after it."""
    if path.suffix.lower() not in _KINDS:
        raise BadInput(f"{path}: an input is a {', '.join(_KINDS)} file")
    if not path.is_file():
        raise BadInput(f"{path}: no such file")


def read_inputs(path: Path, ports: Sequence[Port]) -> dict[str, Array]:
    """For each port an array of shape (1, *port shape), from a file that passed ``check_input``.

    Raises BadInput for whatever is wrong with the file.

    ``.npy`` holds the only input, ``.npz`` all of them by name: integers as the port takes them, or numbers that are
    quantised by the port's scale and zero point. A picture is resized and spread over all that the port can hold: black
    is the least value, white the largest; for a float port 0 and 1. ``.wav`` holds 16-bit samples, one channel: as they
    are for an int16 port, as numbers from -1 to 1 for a float port.
    """
    try:
        if path.suffix.lower() == ".npz":
            if not zipfile.is_zipfile(path):
                raise ValueError("it is no archive of arrays")
            with np.load(path) as arrays:
                return {port.name: _array(path, arrays[port.name], port)[None] for port in ports}
        if len(ports) != 1:
            names = ", ".join(port.name for port in ports)
            raise BadInput(f"{path}: the model has {len(ports)} inputs; give them in one .npz, as {names}")
        (port,) = ports
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return {port.name: _array(path, np.lib.format.read_array(file, allow_pickle=False), port)[None]}
        if path.suffix.lower() == ".wav":
            return {port.name: _sound(path, port)[None]}
        return {port.name: _picture(path, port)[None]}
    except (OSError, EOFError, KeyError, ValueError, wave.Error, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from None


def _array(path: Path, values: Array, port: Port) -> Array:
    if values.size != np.prod(port.shape, dtype=int):
        raise BadInput(f"{path}: {port.name} takes {port.dtype}{list(port.shape)}, not {list(values.shape)}")
    values = values.reshape(port.shape)
    if values.dtype == np.dtype(port.dtype):
        return values
    if values.dtype.kind == "f":
        return _quantised(path, values, port)
    if np.can_cast(values.dtype, port.dtype) or np.array_equal(values.astype(port.dtype).astype(values.dtype), values):
        return values.astype(port.dtype)
    raise BadInput(f"{path}: has numbers that {port.name}, which takes {port.dtype}, cannot hold")


def _quantised(path: Path, values: Array, port: Port) -> Array:
    if np.dtype(port.dtype).kind == "f":
        return values.astype(port.dtype)
    if port.scale is None or port.zero_point is None:
        raise BadInput(f"{path}: has floats, but {port.name} takes {port.dtype} without scale and zero point")
    limits = np.iinfo(port.dtype)
    rounded = np.round(values / np.float32(port.scale)) + port.zero_point
    return np.clip(rounded, limits.min, limits.max).astype(port.dtype)


def _picture(path: Path, port: Port) -> Array:
    try:
        from PIL import Image
    except ImportError:
        raise BadInput(
            f"{path}: pictures need Pillow: pip install pillow (or: pip install 'tvm-pex[images]')"
        ) from None
    shape = port.shape[-3:]
    if len(shape) != 3 or np.prod(port.shape) != np.prod(shape) or shape[2] not in (1, 3):
        raise BadInput(f"{path}: {port.name} takes {port.dtype}{list(port.shape)}, which is no picture")
    with Image.open(path) as image:
        resized = image.convert("L" if shape[2] == 1 else "RGB").resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.uint8).reshape(port.shape)
    dtype = np.dtype(port.dtype)
    if dtype.kind == "f":
        return (pixels / 255).astype(dtype)
    if dtype.itemsize != 1:
        raise BadInput(f"{path}: {port.name} takes {port.dtype}; a picture has 8 bits")
    return (pixels.astype(np.int16) + np.iinfo(dtype).min).astype(dtype)


def _sound(path: Path, port: Port) -> Array:
    if port.dtype not in ("int16", "float32") or max(port.shape, default=0) != np.prod(port.shape):
        raise BadInput(
            f"{path}: {port.name} takes {port.dtype}{list(port.shape)}, which are features and not samples; give a .npy"
        )
    with wave.open(str(path), "rb") as sound:
        if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
            raise BadInput(f"{path}: sound is one channel of 16-bit samples")
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    wanted = int(np.prod(port.shape))
    if len(samples) != wanted:
        raise BadInput(f"{path}: has {len(samples)} samples; {port.name} takes {wanted}")
    samples = samples.reshape(port.shape)
    return samples.astype(np.int16) if port.dtype == "int16" else (samples / _FULL_SCALE).astype(np.float32)
