"""Draw the rounds of pruning as SVG: memory by round with its budget, and accuracy against memory."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from tvm_pex.codesign.state import Round
from tvm_pex.report.drawing import COLOURS, WIDTH, Axes, add, picture, text, written


def rounds_svg(title: str, rounds: Sequence[Round], ram: int) -> str:
    """A picture that stands alone."""
    svg = picture(title, 2)
    most = max(done.arena_bytes for done in rounds)
    by_round = Axes(svg, 0, (0, max(rounds[-1].round, 1)), (0, max(most, ram)))
    by_round.draw("Arena", "round", "bytes")
    _line(svg, [(by_round.x(r.round), by_round.y(r.arena_bytes)) for r in rounds])
    limit = by_round.y(ram)
    add(
        svg,
        "line",
        x1=by_round.left,
        y1=limit,
        x2=by_round.left + WIDTH,
        y2=limit,
        stroke="black",
        stroke_dasharray="4 3",
    )
    text(svg, by_round.left + WIDTH, limit - 4, f"budget {ram:,}", "end")
    against = Axes(svg, 1, (0, most), (0, 100))
    against.draw("Accuracy after fine-tuning", "arena, bytes", "% of validation")
    points = [(against.x(r.arena_bytes), against.y(round(100 * r.accuracy))) for r in rounds]
    _line(svg, points)
    for done, (x, y) in zip(rounds, points):
        dot = add(svg, "circle", cx=x, cy=y, r=4, fill=COLOURS[0])
        words = f"round {done.round}: {done.arena_bytes:,} bytes, {100 * done.accuracy:.2f} %, {done.macs:,} MACs"
        ElementTree.SubElement(dot, "title").text = f"{words}; {done.channels}"
    return written(svg)


def _line(svg: ElementTree.Element, points: Sequence[tuple[float, float]]) -> None:
    add(svg, "polyline", points=" ".join(f"{x},{y}" for x, y in points), fill="none", stroke=COLOURS[0])
