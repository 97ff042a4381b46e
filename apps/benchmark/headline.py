"""The README's tables and picture: text between marks, made from the benchmark's values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tvm_pex.files import write_whole

if TYPE_CHECKING:
    from tvm_pex.benchmark.rows import Subject

OWN = "fashion_mnist"
PICTURE = "apps/benchmark/headline.svg"

# (model, what it is)
REAL = (
    ("kws_ref_model", "MLPerf Tiny keyword spotting (DS-CNN)"),
    ("vww_96_int8", "MLPerf Tiny visual wake words (MobileNetV1 0.25, 96x96)"),
    ("pretrainedResnet_quant", "MLPerf Tiny image classification (ResNet-8)"),
    ("ad01_int8", "MLPerf Tiny anomaly detection (dense layers only)"),
    ("str_ww_ref_model", "MLPerf Tiny streaming wake word"),
    ("person_detect", "TFLite Micro person detection"),
    ("micro_speech_quantized", "TFLite Micro micro speech"),
    ("text_class_fp32", "text classification (embedding, float32)"),
    ("magic_wand_fp32", "TFLite Micro magic wand (float32)"),
    ("mobilenet_v1_0.25_128_quant", "MobileNetV1 0.25, 128x128, uint8"),
    ("mobilenet_v2_1.0_224_ptq", "MobileNetV2 1.0, 224x224"),
)
OWN_ROWS = ("layers", "stock", "tflm", "pex", "overwritten")
COLUMNS = OWN_ROWS
_BOARD = "mps2-an386"


def own_table(subject: Subject) -> str:
    """The project's own network: arenas, and instructions on an emulated Cortex-M4."""
    lines = ["| | arena, bytes | instructions, Cortex-M4 | exact |", "|---|---:|---:|---|"]
    for key in OWN_ROWS:
        row = subject.row(key)
        if row is not None and row.arena_bytes is not None:
            board = row.boards.get(_BOARD)
            instructions = f"{board.instructions:,}" if board and board.instructions else ""
            exact = "reference" if key == "stock" else {True: "yes", False: "NO", None: ""}[row.exact]
            lines.append(f"| {row.label} | {row.arena_bytes:,} | {instructions} | {exact} |")
    return "\n".join(lines)


def real_table(subjects: Sequence[Subject]) -> str:
    """Arenas of the networks of ``REAL`` that were measured."""
    known = {subject.model: subject for subject in subjects}
    lines = [
        "| network | layer by layer | stock TVM | TFLite Micro | Pex | input overwritten | at least |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for model, title in REAL:
        if model in known:
            rows = [known[model].row(key) for key in COLUMNS]
            sizes = [row.arena_bytes if row else None for row in rows] + [known[model].lower_bound_bytes]
            lines.append(f"| {title} | {' | '.join('' if size is None else f'{size:,}' for size in sizes)} |")
    return "\n".join(lines)


def picture(subject: Subject) -> str:
    """The arena over time, layer by layer beside by slices."""
    from tvm_pex.report.arena_plot import arena_svg
    from tvm_pex.report.benchmark_page import panels

    return arena_svg(f"Arena of {subject.model}", panels(subject))


def placed(text: str, mark: str, content: str) -> str:
    """``text`` with ``content`` between the comments ``<!-- mark -->`` and ``<!-- /mark -->``.

    Raises ValueError where these are not there once.
    """
    around = re.compile(rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- /{re.escape(mark)} -->)", re.DOTALL)
    changed, count = around.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"{count} places for {mark}, not 1")
    return changed


def between(text: str, mark: str) -> str:
    """What stands between the comments."""
    found = re.search(rf"<!-- {re.escape(mark)} -->\n(.*?)\n<!-- /{re.escape(mark)} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"no place for {mark}")
    return found[1]


def write(root: Path, subjects: Sequence[Subject]) -> None:
    """README.md and the picture below ``root``. Raises OSError."""
    readme = root / "README.md"
    text = readme.read_text()
    (own,) = [subject for subject in subjects if subject.model == OWN]
    text = placed(text, "own network", f"{own_table(own)}\n\n![Memory over time]({PICTURE})")
    if any(subject.model == REAL[0][0] for subject in subjects):
        text = placed(text, "real networks", real_table(subjects))
    write_whole(readme, text.encode())
    write_whole(root / PICTURE, picture(own).encode())
