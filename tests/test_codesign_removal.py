"""Channels that are one, and their removal: outputs stay the same where what is removed is multiplied by zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm_pex.codesign.architecture import NotPrunable, architecture_of
from tvm_pex.codesign.removal import remove
from tvm_pex.codesign.wiring import wiring

keras = pytest.importorskip("tensorflow").keras
layers = keras.layers
