"""Commands that train, and small data sets for them: TensorFlow is in no process of the tests'."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
from model_files import ROOT
from PIL import Image

RATE = 8000  # samples a second


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Python, on one processor."""
    alone = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **alone, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def write_pictures(folder: Path, count: int) -> Path:
    """Three classes of so many 14x14 grey pictures: bars across, bars upright, and a ramp; with noise."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:14, :14]
    for name, pattern in {"across": rows % 4 < 2, "upright": columns % 4 < 2, "ramp": (rows + columns) / 26}.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = 150 * np.roll(pattern, generator.integers(4), axis=(0, 1)) + generator.uniform(0, 100, (14, 14))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def write_recordings(folder: Path, count: int) -> Path:
    """Two classes of so many recordings of each of three speakers: a high tone and a low one, with noise."""
    generator = np.random.default_rng(0)
    for name, pitch in (("high", 2500), ("low", 300)):
        (folder / name).mkdir(parents=True)
        for speaker in ("ann", "bob", "eve"):
            for number in range(count):
                tone = np.sin(2 * np.pi * pitch * np.arange(6000) / RATE) + generator.normal(0, 0.3, 6000)
                with wave.open(str(folder / name / f"{speaker}_{number}.wav"), "wb") as sound:
                    sound.setnchannels(1)
                    sound.setsampwidth(2)
                    sound.setframerate(RATE)
                    sound.writeframes((9000 * tone).astype("<i2").tobytes())
    return folder
