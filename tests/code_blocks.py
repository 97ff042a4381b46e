"""The code blocks of a Markdown file, in order, with what the comment right above each says about running it.

Every block of sh, python and c is run or compiled. A block under ``<!-- not run by the tests: REASON -->`` is not; the
reason stands in the text's source, for its readers. A block of c under ``<!-- compiled in the folder where the archive
was unpacked -->`` is a whole file; with ``, as the body of a function of NAMES`` it is part of one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:<!-- (?P<comment>(?:[^-]|-(?!->))*) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = ("sh", "python", "c")
SKIPPED = "not run by the tests: "


@dataclass(frozen=True)
class Block:
    """A block, the number of its first line, and the comment above it, on one line."""

    language: str
    text: str
    line: int
    comment: str

    @property
    def skipped(self) -> bool:
        return self.comment.startswith(SKIPPED)


def code_blocks(path: Path) -> list[Block]:
    """Those in a language that can be run."""
    text, found = path.read_text(), []
    for match in _BLOCK.finditer(text):
        if match["language"] in LANGUAGES:
            lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines()]
            comment = " ".join((match["comment"] or "").split())
            at = text.count("\n", 0, match.start("text")) + 1
            found.append(Block(match["language"], "\n".join(lines) + "\n", at, comment))
    return found
