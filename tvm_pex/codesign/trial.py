"""One trial from end to end: prune, quantise, compile for the budget, verify, and the accuracy of the int8 program."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tvm_pex.codesign.conversion import to_tflite
from tvm_pex.codesign.data import load
from tvm_pex.codesign.judge import Verdict, judge
from tvm_pex.codesign.pruning import Report, Settings, prune
from tvm_pex.codesign.state import State
from tvm_pex.codesign.training import tensorflow
from tvm_pex.files import write_whole
from tvm_pex.report.rounds_plot import rounds_svg
from tvm_pex.scheduling.search import ALL_AXES

CALIBRATION = 200


@dataclass(frozen=True)
class Trial:
    """``model`` is a .keras file, ``data`` what ``codesign.data.load`` takes; ``limit`` and ``flip`` as there."""

    model: Path
    data: str
    settings: Settings
    limit: int | None = None
    flip: bool = True

    def record(self) -> dict[str, Any]:
        """What makes two trials the same: the bytes of the network, not its path."""
        digest = hashlib.sha256(self.model.read_bytes()).hexdigest()
        return {"network": digest, "data": self.data, "limit": self.limit, "flip": self.flip, **asdict(self.settings)}


@dataclass(frozen=True)
class Result:
    """``before`` is the arena of the network that was given, ``layers_before`` its memory layer by layer."""

    verdict: Verdict
    before: int
    layers_before: int
    rounds: int
    float_accuracy: float


def run_trial(trial: Trial, folder: Path, output: Path, report: Report, jobs: int | None = None) -> Result:
    """Goes on where ``folder`` ends. Writes the .tflite file, and ``rounds.svg`` and ``result.json`` in the folder.

    Raises DataError, NotPrunable, StateError, Unreachable, JudgeError, and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state, settings = State(folder), trial.settings
    state.claim(trial.record())
    report("loading TensorFlow", None, None)
    tf = tensorflow()
    model = tf.keras.models.load_model(trial.model, compile=False)
    report("reading the data", None, None)
    data = load(trial.data, tuple(model.input_shape[1:]), trial.limit, trial.flip)
    model = prune(model, data, settings, state, report, jobs)
    rounds = state.rounds()
    write_whole(folder / "rounds.svg", rounds_svg(f"Pruning {trial.model.stem}", rounds, settings.ram).encode())
    report("quantising", None, None)
    write_whole(output, to_tflite(model, data.train.inputs[:CALIBRATION]))
    report("compiling, verifying, running on the test split", None, None)
    axes = () if settings.method == "layers" else ALL_AXES
    verdict = judge(output, data.test, settings.ram, axes, settings.overwrite_input)
    first, last = rounds[0], rounds[-1]
    result = Result(verdict, first.arena_bytes, first.layer_by_layer_bytes, last.round, last.accuracy)
    write_whole(folder / "result.json", (json.dumps(asdict(result), indent=2) + "\n").encode())
    return result
