"""Draw the rounds of pruning as SVG: memory by round with its budget, and accuracy against memory."""

from __future__ import annotations

from collections.abc import Sequence

from tvm_pex.codesign.state import Round
from tvm_pex.report.drawing import COLOURS, Axes, picture, written


def rounds_svg(title: str, rounds: Sequence[Round], ram: int) -> str:
    """A picture that stands alone."""
    svg = picture(title, 2)
    most = max(done.arena_bytes for done in rounds)
    by_round = Axes(svg, 0, (0, max(rounds[-1].round, 1)), (0, max(most, ram)))
    by_round.draw("Arena", "round", "bytes")
    by_round.line([(r.round, r.arena_bytes) for r in rounds], COLOURS[0])
    by_round.limit(ram, f"budget {ram:,}")
    against = Axes(svg, 1, (0, most), (0, 100))
    against.draw("Accuracy after fine-tuning", "arena, bytes", "% of validation")
    against.line([(r.arena_bytes, 100 * r.accuracy) for r in rounds], COLOURS[0])
    for done in rounds:
        words = f"round {done.round}: {done.arena_bytes:,} bytes, {100 * done.accuracy:.2f} %, {done.macs:,} MACs"
        against.dot(done.arena_bytes, 100 * done.accuracy, COLOURS[0], f"{words}; {done.channels}")
    return written(svg)
