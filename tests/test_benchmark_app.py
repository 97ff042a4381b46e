"""apps/benchmark: the README's tables are those of its results, and its results those of the planner; scaling."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from model_files import ROOT, shared_model

from tvm_pex.benchmark.rows import RIVALS
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.options import PlanOptions

sys.path.insert(0, str(ROOT / "apps" / "benchmark"))

import benchmark
import headline
import scaling

README = (ROOT / "README.md").read_text()
APP = ROOT / "apps" / "benchmark"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(text: str) -> int | None:
    return int(text.replace(",", "")) if text else None


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], dict[str, str]]:
    """Rows of results.csv by model and key."""
    with (APP / "results.csv").open() as file:
        return {(row["model"], row["row"]): row for row in csv.DictReader(file)}


def test_readme_shows_the_results_of_the_own_network(results: dict[tuple[str, str], dict[str, str]]) -> None:
    _, _, *lines = headline.between(README, "own network").split("\n\n")[0].splitlines()
    keys = [key for key in headline.OWN_ROWS if (headline.OWN, key) in results]
    assert len(lines) == len(keys) == 5
    for key, line in zip(keys, lines, strict=True):
        label, arena, instructions, _ = cells(line)
        row = results[headline.OWN, key]
        assert (label, number(arena)) == (row["label"], int(row["arena_bytes"]))
        assert number(instructions) == number(row["instructions_mps2-an386"])


def test_readme_shows_the_results_of_real_networks(results: dict[tuple[str, str], dict[str, str]]) -> None:
    _, _, *lines = headline.between(README, "real networks").splitlines()
    there = [(model, title) for model, title in headline.REAL if (model, "pex") in results]
    assert [cells(line)[0] for line in lines] == [title for _, title in there]
    for (model, _), line in zip(there, lines, strict=True):
        arenas = [number(text) for text in cells(line)[1:-1]]
        rows = [results.get((model, key)) for key in headline.COLUMNS]
        assert arenas == [number(row["arena_bytes"]) if row else None for row in rows]


def shown() -> list[tuple[str, str]]:
    """The networks of README's table."""
    table = headline.between(README, "real networks")
    return [(model, title) for model, title in headline.REAL if f"| {title} |" in table]


@pytest.mark.parametrize(("model", "title"), shown())
def test_readme_figures_are_the_planner_s(model: str, title: str) -> None:
    """Where the networks are: they are not part of the project."""
    file = load_model(shared_model(model))
    (line,) = [
        line for line in headline.between(README, "real networks").splitlines() if line.startswith(f"| {title} |")
    ]
    *_, pex, overwritten, bound = cells(line)
    for overwrite, told in ((False, pex), (True, overwritten)):
        assert compile_model(file, PlanOptions(overwrite_input=overwrite, core="cortex-m4")).arena_bytes == number(told)
    assert compile_model(file, PlanOptions(axes=(), core="cortex-m4")).report["lower_bound_bytes"] == number(bound)


def test_ours_is_never_worse_than_stock_tvm(results: dict[tuple[str, str], dict[str, str]]) -> None:
    assert len({model for model, _ in results}) >= 15
    for (model, key), row in results.items():
        stock = results.get((model, "stock"))
        if key not in RIVALS and row["arena_bytes"]:
            assert stock is None or int(row["arena_bytes"]) <= int(stock["arena_bytes"]), (model, key)
            assert row["exact"] == "True", (model, key)


def test_results_and_their_table_say_the_same(results: dict[tuple[str, str], dict[str, str]]) -> None:
    text = (APP / "RESULTS.md").read_text()
    parts = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for (model, _), row in results.items():
        if row["arena_bytes"]:
            assert f"| {row['label']} | {int(row['arena_bytes']):,} |" in parts[model]


def test_text_between_marks() -> None:
    text = "a\n<!-- m -->\nold\n<!-- /m -->\nb\n"
    changed = headline.placed(text, "m", "new\nlines")
    assert changed == "a\n<!-- m -->\nnew\nlines\n<!-- /m -->\nb\n"
    assert headline.between(changed, "m") == "new\nlines"
    for wrong in ("nothing", text + text):
        with pytest.raises(ValueError, match="not 1"):
            headline.placed(wrong, "m", "new")


def test_scaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "HERE", tmp_path)
    arguments = ["--depth", "5", "--depth", "9", "--width", "8", "--write"]
    monkeypatch.setattr(scaling, "DEPTH", 6)
    done = CliRunner().invoke(scaling.main, arguments)
    assert done.exit_code == 0, done.output
    rows = [cells(line) for line in done.stdout.splitlines()[2:]]
    assert [(row[0], row[1]) for row in rows] == [("5", "8"), ("9", "8"), ("6", "8")]
    assert all(0 < (number(row[3]) or 0) < (number(row[4]) or 0) for row in rows)
    assert done.stdout in (tmp_path / "SCALING.md").read_text()
    for name in ("scaling.svg", "scaling_width.svg"):
        assert ElementTree.fromstring((tmp_path / name).read_text().split("\n", 1)[1]).tag.endswith("svg")
    assert (APP / "scaling.svg").is_file()


def test_help_and_bad_input(tmp_path: Path) -> None:
    for command in (benchmark.main, scaling.main):
        assert "Examples:" in CliRunner().invoke(command, ["--help"]).stdout
    done = CliRunner().invoke(benchmark.main, [str(tmp_path / "missing.tflite")])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
