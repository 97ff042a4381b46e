"""Data sets as arrays of the shape that a network takes. TensorFlow is imported for pictures and sound.

1. ``fashion-mnist``: the files of the Debian package dataset-fashion-mnist, in FASHION_MNIST.
2. A folder of classes, each a folder of pictures (.jpg, .png) or of recordings (.wav, 16 bits, one channel).
3. A folder with ``train`` and ``test``, each such a folder. Otherwise a fifth is for testing: of pictures every fifth
   of a class; of recordings named SPEAKER_ANYTHING.wav whole speakers, who are nowhere in training.

Pictures are resized to the network's input and lie between 0 and 1. Recordings become logarithms of the energies in mel
bands, (frames, bands, 1) or (frames, bands): as many as the input has, over the ``SECONDS`` that a recording is cut or
padded to.
"""

from __future__ import annotations

import gzip
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.codesign.architecture import Shape

DEFAULT = "fashion-mnist"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
PICTURES, SOUND = (".jpg", ".jpeg", ".png"), ".wav"
SECONDS, WINDOW_SECONDS = 1.0, 0.032
_LOWEST, _FLOOR = 60.0, 1e-6  # Hz, and energy
_AT_ONCE = 500  # recordings
_HELD_OUT = 5  # one of so many
_VALIDATION = 12

Array = npt.NDArray[Any]


class DataError(Exception):
    """The data set is not there, or not laid out as described above; one line."""


@dataclass(frozen=True)
class Split:
    """``inputs`` (n, *input) of float32, ``labels`` (n,) of int64."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, index: Any) -> Split:
        return Split(self.inputs[index], self.labels[index])


@dataclass(frozen=True)
class Data:
    """``validation`` is for decisions, ``test`` for the last figure alone.

    ``sound``: spectrograms, not pictures. ``flip``: in training half of the pictures are flipped, left to right.
    """

    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    sound: bool
    flip: bool


def load(source: str, shape: Shape, limit: int | None = None, flip: bool = True) -> Data:
    """``limit``: no more than so many for training and validation; testing takes all there are. Raises DataError.

    ``flip`` is for pictures: no spectrogram is ever flipped.
    """
    found = _fashion_mnist(FASHION_MNIST, shape) if source == DEFAULT else _folder(Path(source), shape)
    classes, train, test, sound = found
    order = np.random.default_rng(0).permutation(len(train))
    if limit is not None:
        order = order[:limit]
    held = max(1, len(order) // _VALIDATION)
    return Data(classes, train.part(order[held:]), train.part(order[:held]), test, sound, flip and not sound)


Found = tuple[tuple[str, ...], Split, Split, bool]


def _fashion_mnist(folder: Path, shape: Shape) -> Found:
    if shape[-1] != 1 or len(shape) != 3:
        raise DataError(f"fashion-mnist has grey pictures; the network takes {list(shape)}")
    splits = []
    for stem in ("train", "t10k"):
        images, labels = (_idx(folder / f"{stem}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
        splits.append(Split(_resized(images[..., None] / np.float32(255), shape), labels.astype(np.int64)))
    return FASHION_CLASSES, splits[0], splits[1], False


def _idx(path: Path) -> Array:
    """An idx file of bytes: 0, 0, 8, rank, the sizes (big-endian), the data."""
    try:
        content = gzip.decompress(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; install the Debian package dataset-fashion-mnist"
        ) from None
    rank = content[3]
    sizes = [int(size) for size in np.frombuffer(content, ">u4", rank, offset=4)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def _resized(images: Array, shape: Shape) -> Array:
    if images.shape[1:3] == tuple(shape[:2]):
        return images.astype(np.float32, copy=False)
    import tensorflow as tf

    parts = [tf.image.resize(images[at : at + 1000], shape[:2], antialias=True) for at in range(0, len(images), 1000)]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def _folder(folder: Path, shape: Shape) -> Found:
    if not folder.is_dir():
        raise DataError(f"{folder}: give {DEFAULT} or a folder with a folder of pictures or recordings for each class")
    divided = (folder / "train").is_dir() and (folder / "test").is_dir()
    first = folder / "train" if divided else folder
    classes = tuple(sorted(path.name for path in first.iterdir() if path.is_dir()))
    files = [_files(first / name) for name in classes]
    if len(classes) < 2 or not all(files):
        raise DataError(f"{first}: has {len(classes)} folders of classes; two are needed, and none empty")
    if divided:
        train, test = files, [_files(folder / "test" / name) for name in classes]
    else:
        train, test = _divided(files)
    sound = files[0][0].suffix.lower() == SOUND
    splits = []
    for part in (train, test):
        paths = [path for group in part for path in group]
        labels = np.repeat(np.arange(len(part)), [len(group) for group in part])
        splits.append(Split(_spectrograms(paths, shape) if sound else _pictures(paths, shape), labels))
    if sound:
        mean, deviation = splits[0].inputs.mean(), splits[0].inputs.std()
        splits = [Split((split.inputs - mean) / deviation, split.labels) for split in splits]
    return classes, splits[0], splits[1], sound


def _files(folder: Path) -> list[Path]:
    kinds = (*PICTURES, SOUND)
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in kinds) if folder.is_dir() else []


def _divided(files: Sequence[Sequence[Path]]) -> tuple[list[list[Path]], list[list[Path]]]:
    """For training and for testing: by speaker where recordings have one, else every fifth of each class."""
    if files[0][0].suffix.lower() != SOUND:
        test = [list(group[::_HELD_OUT]) for group in files]
    else:
        speakers = sorted({_speaker(path) for group in files for path in group})
        if len(speakers) < 2:
            raise DataError(f"{files[0][0]}: name recordings SPEAKER_ANYTHING.wav, of two speakers or more")
        away = set(speakers[:: max(2, min(_HELD_OUT, len(speakers)))])
        test = [[path for path in group if _speaker(path) in away] for group in files]
    train = [sorted(set(group) - set(held)) for group, held in zip(files, test)]
    return train, test


def _speaker(path: Path) -> str:
    return path.name.split("_")[0]


def _pictures(paths: Sequence[Path], shape: Shape) -> Array:
    import tensorflow as tf

    if len(shape) != 3 or shape[2] not in (1, 3):
        raise DataError(f"{paths[0]} is a picture; the network takes {list(shape)}")
    found = np.empty((len(paths), *shape), np.float32)
    for at, path in enumerate(paths):
        image = tf.io.decode_image(path.read_bytes(), channels=shape[2], expand_animations=False)
        found[at] = tf.image.resize(image, shape[:2], antialias=True) / 255
    return found


def _spectrograms(paths: Sequence[Path], shape: Shape) -> Array:
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,)):
        raise DataError(f"{paths[0]} is a recording; the network takes {list(shape)}, not (frames, bands) or with a 1")
    found = np.empty((len(paths), *shape[:2]), np.float32)
    recordings = [_samples(path) for path in paths]
    for rate in sorted({rate for _, rate in recordings}):
        places = [at for at, (_, own) in enumerate(recordings) if own == rate]
        for part in (places[first : first + _AT_ONCE] for first in range(0, len(places), _AT_ONCE)):
            found[part] = _log_mel(np.stack([recordings[at][0] for at in part]), rate, shape)
    return found.reshape(len(paths), *shape)


def _samples(path: Path) -> tuple[Array, int]:
    """Those of the first ``SECONDS``, silence behind what is shorter; and how many there are in a second."""
    with wave.open(str(path), "rb") as sound:
        if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
            raise DataError(f"{path}: a recording is one channel of 16-bit samples")
        rate = sound.getframerate()
        length = round(SECONDS * rate)
        samples = np.frombuffer(sound.readframes(length), "<i2") / np.float32(32768)
        return np.pad(samples, (0, length - len(samples))).astype(np.float32), rate


def _log_mel(samples: Array, rate: int, shape: Shape) -> Array:
    """Of recordings (n, samples) the spectrograms (n, frames, bands). Windows are spread evenly from the start on."""
    import tensorflow as tf

    frames, bands = shape[:2]
    window = round(WINDOW_SECONDS * rate)
    step = (samples.shape[1] - window) // max(frames - 1, 1)
    spectrum = tf.abs(tf.signal.stft(samples, window, step, fft_length=window))[:, :frames]
    weights = tf.signal.linear_to_mel_weight_matrix(bands, spectrum.shape[-1], rate, _LOWEST, rate / 2)
    return np.asarray(tf.math.log(tf.square(spectrum) @ weights + _FLOOR), np.float32)
