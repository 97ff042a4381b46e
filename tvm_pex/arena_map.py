"""Draw a plan: steps from left to right, bytes from top (offset 0) to bottom."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

from tvm_pex.memory_planner import Plan, Problem

LETTERS = ascii_uppercase + ascii_lowercase + digits
SHARED, FREE = "#", "."


def arena_map(problem: Problem, plan: Plan, width: int = 72, height: int = 24) -> str:
    """At most ``width`` columns of steps and ``height`` rows of bytes, then a line for each buffer.

    A cell shows the letter of the buffer that holds bytes of it during its steps, ``#`` where several do and ``.`` where
    none does. A cell may stand for several steps and bytes: buffers that share one do not necessarily overlap.
    Problems given by conflicts have no lifetimes that mean anything; each of their buffers gets a column of its own.
    """
    buffers = sorted(problem.buffers, key=lambda b: (b.first, plan.offsets[b.name], b.name))
    if not buffers:
        return "empty arena"
    spans = [(b.first, b.last) if problem.conflicts is None else (k, k) for k, b in enumerate(buffers)]
    start = min(first for first, _ in spans)
    steps = max(last for _, last in spans) + 1 - start
    columns, rows = min(width, steps), max(1, min(height, plan.peak))
    cells = [[FREE] * columns for _ in range(rows)]
    for k, (b, (first, last)) in enumerate(zip(buffers, spans)):
        at = plan.offsets[b.name]
        for row in _cells(at, at + b.bytes, plan.peak, rows):
            for column in _cells(first - start, last + 1 - start, steps, columns):
                letter = LETTERS[k % len(LETTERS)]
                cells[row][column] = letter if cells[row][column] in (FREE, letter) else SHARED
    margin = max(len(str(plan.peak)), len("bytes"))
    lines = [f"{'bytes':>{margin}}  steps {start} to {start + steps - 1}"]
    lines += [f"{row * plan.peak // rows:>{margin}} |{''.join(line)}|" for row, line in enumerate(cells)]
    lines += [f"{plan.peak:>{margin}} +{'-' * columns}+ peak", ""]
    long = max(len(b.name) for b in buffers)
    for k, b in enumerate(buffers):
        at, life = plan.offsets[b.name], f"steps {b.first}-{b.last}" if problem.conflicts is None else ""
        place = f"{b.bytes:>{margin}} bytes at {at:>{margin}}"
        lines.append(f"{LETTERS[k % len(LETTERS)]}  {b.name:<{long}}  {place}  {life}".rstrip())
    return "\n".join(lines)


def _cells(start: int, end: int, extent: int, count: int) -> range:
    """The cells, of ``count`` equal ones over ``extent``, that [start, end) touches."""
    if end <= start:
        return range(0)
    return range(start * count // extent, -(-end * count // extent))
