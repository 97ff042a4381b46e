"""Sound to rows of a spectrogram: each row is heard once, whatever the windows."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from listener import BANDS, SCALE, ZERO

Array = npt.NDArray[Any]

STEP, LENGTH = 0.010, 0.032  # seconds: from frame to frame, and of one
_LOWEST = 60.0  # Hz


def read(path: Path) -> tuple[Array, int]:
    """(samples, samples a second) of a .wav of one channel and 16 bits, or of a .npz: ``audio`` and ``sample_rate``."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["audio"].astype(np.float64) / 32768, int(arrays["sample_rate"])
    with wave.open(str(path), "rb") as sound:
        if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
            raise ValueError("sound is one channel of 16-bit samples")
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        return samples / 32768, sound.getframerate()


def spectrogram(samples: Array, rate: int) -> Array:
    """int8 of shape (frames, BANDS, 1): logarithms of the power in bands that are even in mel."""
    step, length = round(STEP * rate), round(LENGTH * rate)
    count = max((len(samples) - length) // step + 1, 0)
    frames = np.stack([samples[at * step : at * step + length] for at in range(count)])
    power = np.abs(np.fft.rfft(frames * np.hanning(length))) ** 2
    logarithms = np.log(power @ _bands(length, rate) + 1e-6)
    return np.clip(np.round(logarithms / SCALE) + ZERO, -128, 127).astype(np.int8)[..., None]


def _bands(length: int, rate: int) -> Array:
    """Triangles: (frequencies, BANDS)."""
    mel = np.linspace(_mel(_LOWEST), _mel(rate / 2), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    at = np.fft.rfftfreq(length, 1 / rate)[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None)


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))
