"""apps/listen on a sound made here: exact, and a hop costs a fraction of a window."""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from model_files import ROOT

sys.path.insert(0, str(ROOT / "apps" / "listen"))

import listen
from spectrogram import spectrogram


def write_sound(path: Path, seconds: int, rate: int = 8000) -> None:
    at = np.arange(seconds * rate) / rate
    tone = np.sin(2 * np.pi * (300 + 200 * np.sin(2 * np.pi * at)) * at) * (0.5 + 0.5 * np.sin(7 * at))
    samples = 8000 * tone + np.random.default_rng(0).normal(0, 300, at.size)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())


def test_a_few_seconds(tmp_path: Path) -> None:
    write_sound(tmp_path / "sound.wav", 5)
    done = CliRunner().invoke(listen.main, ["--json", "--hop", "20", str(tmp_path / "sound.wav")])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["exact"] is True
    assert report["windows"] == (report["frames"] - 98) // 20 + 1 == 20
    assert report["hop_instructions"] < report["window_instructions"] / 4
    assert report["once_for_each_window"] == ["pool7", "dense8"]


def test_too_short_a_sound(tmp_path: Path) -> None:
    write_sound(tmp_path / "sound.wav", 1)
    done = CliRunner().invoke(listen.main, [str(tmp_path / "sound.wav")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "frames are too few" in done.stderr


def test_rows_of_the_spectrogram_do_not_depend_on_what_comes_later() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 8000)
    assert np.array_equal(spectrogram(samples, 8000)[:40], spectrogram(samples[:5000], 8000)[:40])
