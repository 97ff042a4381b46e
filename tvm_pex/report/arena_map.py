"""Draw a plan: steps from left to right, bytes from top (offset 0) to bottom."""

from __future__ import annotations

from itertools import pairwise
from string import ascii_lowercase, ascii_uppercase, digits

from tvm_pex.memory_planner import Plan, Problem

LETTERS = ascii_uppercase + ascii_lowercase + digits
SHARED, FREE = "#", "."
MOST_COLUMNS_OF_A_STEP = 6
Span = tuple[int, int]


def arena_map(problem: Problem, plan: Plan, width: int = 72, height: int = 24) -> str:
    """At most ``width`` columns of steps and ``height`` rows of bytes, then a line for each buffer.

    A cell shows the letter of the buffer that holds the most of its bytes during its steps, ``#`` where buffers overlap
    and ``.`` where it is mostly free. Problems given by conflicts have no lifetimes that mean anything: there, each
    buffer gets a step of its own.
    """
    buffers = sorted(problem.buffers, key=lambda b: (b.first, plan.offsets[b.name], b.name))
    if not buffers:
        return "empty arena"
    lives = [(b.first, b.last) if problem.conflicts is None else (k, k) for k, b in enumerate(buffers)]
    spaces = [(plan.offsets[b.name], plan.offsets[b.name] + b.bytes) for b in buffers]
    start, end = min(first for first, _ in lives), max(last for _, last in lives) + 1
    stretch = max(1, min(MOST_COLUMNS_OF_A_STEP, width // (end - start)))
    columns = min(width, (end - start) * stretch)
    rows = max(1, min(height, plan.peak))
    margin = max(len(str(plan.peak)), len("bytes"))
    lines = [f"{'bytes':>{margin}}  steps {start} to {end - 1}"]
    for row in range(rows):
        low, high = row * plan.peak // rows, (row + 1) * plan.peak // rows
        steps = (start + column * (end - start) // columns for column in range(columns))
        line = "".join(_cell(lives, spaces, step, low, high) for step in steps)
        lines.append(f"{low:>{margin}} |{line}|")
    lines += [f"{plan.peak:>{margin}} +{'-' * columns}+ peak", ""]
    longest = max(len(b.name) for b in buffers)
    for k, b in enumerate(buffers):
        life = f"steps {b.first}-{b.last}" if problem.conflicts is None else ""
        place = f"{b.bytes:>{margin}} bytes at {spaces[k][0]:>{margin}}"
        lines.append(f"{_letter(k)}  {b.name:<{longest}}  {place}  {life}".rstrip())
    return "\n".join(lines)


def _cell(lives: list[Span], spaces: list[Span], step: int, low: int, high: int) -> str:
    """What the bytes [low, high) hold at a step."""
    held = []
    for k, ((first, last), (bottom, top)) in enumerate(zip(lives, spaces)):
        if first <= step <= last and min(top, high) > max(bottom, low):
            held.append((max(bottom, low), min(top, high), k))
    held.sort()
    if any(later[0] < earlier[1] for earlier, later in pairwise(held)):
        return SHARED
    used = sum(top - bottom for bottom, top, _ in held)
    if 2 * used < high - low:
        return FREE
    return _letter(max(held, key=lambda part: part[1] - part[0])[2])


def _letter(k: int) -> str:
    return LETTERS[k % len(LETTERS)]
