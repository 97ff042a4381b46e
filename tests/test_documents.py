"""Every code block of the README, of docs/ and of the apps' READMEs runs, each page in a folder of its own.

The folder has a small network as ``model.tflite``, and ``apps`` as it is; ``tvm-pex`` and ``python`` are those under
test. Blocks run in the order of the page, so that one may use what another has made.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from code_blocks import Block, code_blocks
from model_files import ROOT
from small_models import SMALL_MODELS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "apps").glob("*/README.md"))]
MOST_SKIPPED = 0.35  # of all blocks: those that need a board, or minutes

C_BODY = """
#include <stdint.h>
#include <tvmgen_default.h>
#include <tvmgen_default_stream.h>
extern struct tvmgen_default_inputs inputs;
extern struct tvmgen_default_outputs outputs;
extern struct tvmgen_default_workspace_pools pools;
extern const void *next_row(void);
extern const unsigned char *image;
void example(void);
void example(void)
{
%s}
"""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page)], ids=name_of)
def test_the_blocks_of(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in code_blocks(page) if not block.skipped]
    environment = sandbox(tmp_path / "bin", tmp_path / "page")
    for block in blocks:
        done = run(block, tmp_path / "page", environment)
        said = f"{name_of(page)}:{block.line}\n{block.text}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        assert done.returncode == 0, said


def sandbox(programs: Path, folder: Path) -> dict[str, str]:
    """A folder as the pages expect it, and an environment whose commands are those under test."""
    programs.mkdir()
    folder.mkdir()
    for name, arguments in (("tvm-pex", "-m tvm_pex"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    (folder / "model.tflite").write_bytes(SMALL_MODELS["convolutions"]())
    (folder / "apps").symlink_to(ROOT / "apps")
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(block: Block, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    how = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "check": False}
    if block.language == "sh":
        return subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], **how)  # type: ignore[call-overload, no-any-return]
    if block.language == "python":
        return subprocess.run([sys.executable, "-c", block.text], **how)  # type: ignore[call-overload, no-any-return]
    return subprocess.run(["bash", "-euc", _COMPILE, "compile", *compiled_as(block, folder)], **how)  # type: ignore[call-overload, no-any-return]


_COMPILE = """
includes=$(find -L . -type d -name include -not -path './apps/*' -printf '-I%p ')
printf '%s' "$1" | gcc -x c -std=gnu99 -Wall -Wextra -Wno-unused-variable -Werror -fsyntax-only $includes -Iapps/stm32 -
"""


def compiled_as(block: Block, folder: Path) -> list[str]:
    """The file that a block of C is, or is a part of."""
    if "as the body of a function" not in block.comment:
        return [block.text]
    includes = [line for line in block.text.splitlines() if line.startswith("#include")]
    body = [f"    {line}" for line in block.text.splitlines() if not line.startswith("#include")]
    text = (
        C_BODY
        if list(folder.rglob("tvmgen_default_stream.h"))
        else "extern const unsigned char *image;\nvoid example(void);\nvoid example(void)\n{\n%s}\n"
    )
    return ["\n".join(includes) + "\n" + text % ("\n".join(body) + "\n")]


def test_few_blocks_are_left_out() -> None:
    blocks = [block for page in PAGES for block in code_blocks(page)]
    skipped = [block for block in blocks if block.skipped]
    assert len(skipped) <= MOST_SKIPPED * len(blocks)
    assert all(len(block.comment) > 40 for block in skipped), "a reason is a sentence"


def test_blocks_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```text\nno\n```\n\n1. An item:\n\n   ```sh\n   exit 3\n   ```\n\n"
        "<!-- not run by the tests: because -->\n```c\nint\n```\n"
    )
    first, second = code_blocks(page)
    assert (first.language, first.text, first.line, first.skipped) == ("sh", "exit 3\n", 8, False)
    assert (second.language, second.text, second.skipped) == ("c", "int\n", True)


def test_the_pages_are_built(tmp_path: Path) -> None:
    """Strictly: no broken link, no missing name. And nothing in them is loaded from elsewhere."""
    from page_loads import references

    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path)],
        cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    pages = list(tmp_path.rglob("*.html"))
    assert {page.name for page in pages} >= {"index.html", "tutorial.html", "commands.html", "api.html"}
    assert [reference for page in pages for reference in references(page)] == []
    assert "tvm-pex plan --overwrite-input" in (tmp_path / "commands.html").read_text()
    assert (tmp_path / "how-it-works.html").read_text().count('class="figure"') == 3
