"""Where the tests find models: the project's own, and the networks beside the checkout, where there are any."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "models"
OWN = ROOT / "apps" / "fashion_mnist" / "fashion_mnist.tflite"


def shared_model(name: str) -> Path:
    """The path of a network that is not part of the project; skips the test where it is missing."""
    path = SHARED / f"{name}.tflite"
    if not path.is_file():
        pytest.skip(f"{name}.tflite is not part of the project and not at {path}")
    return path
