"""``tvm-pex bench``: figures are the compiler's own, rivals may fail, an interrupted run goes on, JSON has it all."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stock_plans
from click.testing import CliRunner, Result
from model_files import OWN, ROOT

from tvm_pex.benchmark import measure
from tvm_pex.benchmark.rows import Row, Subject, subject_from_json, to_json
from tvm_pex.benchmark.store import Store
from tvm_pex.cli import main
from tvm_pex.cli.bench import WAYS as CHOICES
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.lowering.aot import AotError
from tvm_pex.options import PlanOptions
from tvm_pex.report import benchmark as report_forms
from tvm_pex.report import rivals
from tvm_pex.report.benchmark_page import page
from tvm_pex.verification.host_run import HostError
from tvm_pex.verification.tflite_reference import NoReference, run_reference, telling_line

sys.path.insert(0, str(ROOT / "apps" / "benchmark"))

import headline

pytestmark = stock_plans.GROUP

WAYS = ("layers", "stock", "tflm", "pex")
ARGUMENTS = [
    "--board", "mps2-an386", "--inputs", "2", "--no-front", "--json",
    *(text for way in WAYS for text in ("--only", way)),
]  # fmt: skip
# What others read: a change here is a new SCHEMA.
ROW_KEYS = [
    "key", "label", "arena_bytes", "arena_without_io_bytes", "persistent_bytes", "executed_macs",
    "predicted_instructions", "planning_seconds", "build_seconds", "exact", "tolerance", "tflite", "boards",
    "configuration", "buffers", "reason",
]  # fmt: skip
MODEL_KEYS = [
    "model", "file_bytes", "sha256", "quantized_io", "inputs", "input_bytes", "output_bytes", "macs",
    "layer_by_layer_bytes", "lower_bound_bytes", "owned_operators", "stock_operators", "front", "agreement", "rows",
    "reason",
]  # fmt: skip
BOARD_KEYS = [
    "arena_bytes", "stack_bytes", "ram_bytes", "flash_bytes", "code_bytes", "weights_bytes", "instructions", "exact",
    "reason",
]  # fmt: skip


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "report"


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    """What the command prints of the project's own network, stock TVM in the configurations alone that can be run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "stock_plans", lambda *_, **__: list(stock_plans.own_plans()))
        done = bench(*ARGUMENTS, "-o", folder, OWN)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def rows_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in report["models"][0]["rows"]}


def test_figures_are_those_of_the_compiler(report: dict[str, Any]) -> None:
    rows = rows_of(report)
    plan = compile_model(load_model(OWN), PlanOptions(axes=(), core="cortex-m4"))
    pex = rows["pex"]
    assert pex["arena_bytes"] == pex["boards"]["mps2-an386"]["arena_bytes"]
    assert max(b["offset"] + b["bytes"] for b in pex["buffers"]) == pex["arena_bytes"]
    assert pex["executed_macs"] == plan.report["macs"] == report["models"][0]["macs"]
    assert {(b["name"], b["offset"]) for b in rows["layers"]["buffers"]} == {
        (b["name"], b["offset"]) for b in plan.report["buffers"]
    }
    assert rows["layers"]["arena_bytes"] == plan.arena_bytes == rows["tflm"]["arena_bytes"]
    assert rows["tflm"]["persistent_bytes"] > 0
    assert pex["arena_bytes"] < rows["layers"]["arena_bytes"] < rows["stock"]["arena_bytes"]
    for name in ("layers", "stock", "pex"):
        board = rows[name]["boards"]["mps2-an386"]
        assert rows[name]["exact"] is board["exact"] is True
        assert board["flash_bytes"] == board["code_bytes"] + board["weights_bytes"]
        assert min(board["instructions"], board["stack_bytes"], board["code_bytes"], board["weights_bytes"]) > 0
        # all compute the same bytes, so all differ from TFLite alike
        assert rows[name]["tflite"] == pex["tflite"]
    assert pex["tflite"]["reference"] == "TFLite Micro"
    agreement = report["models"][0]["agreement"]
    assert agreement["outputs"] == pytest.approx(1 - pex["tflite"]["share"])
    assert agreement["owned"] < agreement["owned_rounded"] == 1
    assert rows["stock"]["configuration"].startswith("c -keys=")


def test_json_has_these_keys(report: dict[str, Any]) -> None:
    assert list(report) == ["schema", "tvm_pex", "models"]
    assert report["schema"] == 1
    (model,) = report["models"]
    assert list(model) == MODEL_KEYS
    for row in model["rows"]:
        assert list(row) == ROW_KEYS
        assert all(list(board) == BOARD_KEYS for board in row["boards"].values())


def test_all_forms_say_the_same(report: dict[str, Any], folder: Path) -> None:
    assert json.loads((folder / "results.json").read_text()) == report
    rows = rows_of(report)
    sheet = list(csv.DictReader((folder / "results.csv").open()))
    assert [row["row"] for row in sheet] == list(WAYS)
    text = (folder / "README.md").read_text()
    for row in sheet:
        told = rows[row["row"]]
        assert int(row["arena_bytes"]) == told["arena_bytes"]
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {told['label']} |")]
        assert f"| {told['arena_bytes']:,} |" in line
    assert report_forms.as_json(report_forms.from_json(report)) == report
    with pytest.raises(ValueError, match="a report of schema 0, not 1"):
        report_forms.from_json({**report, "schema": 0})


def test_readme_shows_these_figures_and_this_picture(report: dict[str, Any]) -> None:
    (subject,) = report_forms.from_json(report)
    shown = headline.between((ROOT / "README.md").read_text(), "own network")
    for line in headline.own_table(subject).splitlines()[2:]:
        if not line.startswith("| stock TVM |"):  # of which this report has not all configurations
            assert line in shown
    assert f"]({headline.PICTURE})" in shown
    assert headline.picture(subject) == (ROOT / headline.PICTURE).read_text()


class Balance(HTMLParser):
    """Fails where an element is closed that is not open, and collects what a browser would load."""

    VOID = ("meta", "link", "img", "br", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing(report: dict[str, Any], folder: Path) -> None:
    subjects = report_forms.from_json(report)
    text = (folder / "index.html").read_text()
    assert page("Benchmark", subjects) == text
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.seen.count("svg") == 2
    assert all(target.startswith("#") for target in parser.loads)
    assert "url(" not in text
    assert "@import" not in text
    for row in rows_of(report).values():
        assert f">{row['arena_bytes']:,}</td>" in text
    strange = page("a < b", [Subject("<i>&", 1, "", False, 1, reason="no <such> file")])
    assert "&lt;i&gt;&amp;" in strange
    assert "<such>" not in strange


def test_rivals_beside_our_figures() -> None:
    figures = json.loads((Path(rivals.__file__).parent / "rivals.json").read_text())
    assert {figure["rival"] for figure in figures["figures"]} == set(figures["rivals"])
    ours = (Row("pex", "", 37_000), Row("overwritten", "", 27_000))
    found = rivals.rivals([Subject("vww_96_int8", 1, "", False, 1, rows=ours), Subject("other", 1, "", False, 1)])
    assert {(r.model, r.kept, r.overwritten) for r in found} == {("vww_96_int8", 37_000, 27_000)}
    assert ("TinyTS", 29_568) in {(r.rival, r.bytes) for r in found}
    assert all(r.counts and r.source for r in found)


def test_a_second_run_measures_nothing_again(
    report: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    for name in ("compile_model", "stock_plans", "run_firmware", "run_compiled"):
        monkeypatch.setattr(measure, name, never)
    again = bench(*ARGUMENTS, "--cache", folder / "cache", OWN)
    assert json.loads(again.stdout) == report
    assert bench(*ARGUMENTS, "--cache", folder / "cache", "--seed", "1", OWN).exit_code == 1  # of another seed


def test_an_interrupted_run_goes_on(folder: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {path: path.read_bytes() for path in (folder / "cache").iterdir()}
    (layers,) = [path for path in kept if "-layers-" in path.name]
    layers.unlink()
    original = measure.run_compiled

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "run_compiled", interrupted)
    assert bench(*ARGUMENTS, "--cache", folder / "cache", OWN).exit_code == 130
    assert set((folder / "cache").iterdir()) == set(kept) - {layers}  # no half of a row
    monkeypatch.setattr(measure, "run_compiled", original)
    monkeypatch.setattr(measure, "stock_plans", interrupted)  # which is kept
    answer = json.loads(bench(*ARGUMENTS, "--cache", folder / "cache", OWN).stdout)
    seconds = {"planning_seconds": 0, "build_seconds": 0}
    assert [{**row, **seconds} for row in answer["models"][0]["rows"]] == [
        {**row, **seconds} for row in report["models"][0]["rows"]
    ]


def test_store(tmp_path: Path) -> None:
    store, calls = Store(tmp_path / "kept"), list[int]()

    def make() -> dict[str, int]:
        calls.append(1)
        return {"a": len(calls)}

    assert [store.value("x", ["1"], make) for _ in range(2)] == [{"a": 1}] * 2
    assert store.value("x", ["2"], make) == {"a": 2}
    for path in (tmp_path / "kept").iterdir():
        path.write_text('{"a": ')
    assert store.value("x", ["1"], make) == {"a": 3}
    values = {"b": np.arange(3, dtype=np.int8), "a": np.zeros((2, 0), np.float32)}
    for _ in range(2):
        found = store.arrays("y", ["1"], lambda: values)
        assert list(found) == ["b", "a"]
        assert all(
            found[name].dtype == values[name].dtype and np.array_equal(found[name], values[name]) for name in found
        )
    for path in (tmp_path / "kept").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:20])
    assert list(store.arrays("y", ["1"], lambda: {"c": np.zeros(1)})) == ["c"]
    assert Store(None).value("x", ["1"], make) == {"a": 4}


def failing(error: Exception) -> Any:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


def test_rivals_that_fail_are_rows_that_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "stock_plans", failing(AotError("no schedule for it")))
    monkeypatch.setattr("tvm_pex.benchmark.case.run_reference", failing(NoReference("Didn't find op GELU (SIGABRT)")))
    monkeypatch.setattr(measure, "compile_model", failing(AotError("cannot be planned")))
    case = measure.Case(OWN, Store(None), inputs=1)
    meter = measure._Meter(case, measure.Settings(), Store(None), lambda *_: None)
    found = {way: meter.row(way) for way in WAYS}
    assert {row.reason for row in found.values()} == {
        "no schedule for it", "Didn't find op GELU (SIGABRT)", "cannot be planned",
    }  # fmt: skip
    assert all(row.arena_bytes is None and row.exact is None for row in found.values())


def test_interpreters_that_fail_say_why_in_one_line() -> None:
    model = load_model(OWN)
    values = {port.name: np.zeros((1, 3), np.int8) for port in model.inputs}  # of a wrong size
    with pytest.raises(NoReference, match=r"tflite-micro does not run it: .") as caught:
        run_reference(OWN.read_bytes(), model.inputs, values, ("tflite-micro",))
    assert "\n" not in str(caught.value)
    said = "INFO: 1\nDidn't find op for builtin opcode 'GELU'\nAborted\n"
    assert telling_line(subprocess.CompletedProcess([], -6, "", said)) == said.splitlines()[1] + " (SIGABRT)"
    assert telling_line(subprocess.CompletedProcess([], 1, "", "")) == "it said nothing"


def test_a_model_that_cannot_be_read_is_part_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"nothing that could be read")
    done = bench("--no-emulator", tmp_path, "--json")
    assert done.exit_code == 1
    (model,) = json.loads(done.stdout)["models"]
    assert "identifier TFL3 is missing" in model["reason"]
    assert model["rows"] == []


@pytest.mark.parametrize(("rows", "worse", "failed"), [
    ((Row("stock", "", 100), Row("pex", "", 100, exact=True)), (), False),
    ((Row("stock", "", 100), Row("rows", "", 101, exact=True)), ("rows",), True),
    ((Row("stock", "", None, reason="none"), Row("pex", "", 101, exact=True)), (), False),
    ((Row("stock", "", 100), Row("tflm", "", 200), Row("pex", "", 99, exact=False)), (), True),
])  # fmt: skip
def test_worse_than_stock_or_not_exact_is_a_failure(
    rows: tuple[Row, ...], worse: tuple[str, ...], failed: bool
) -> None:
    subject = Subject("m", 1, "", False, 1, rows=rows)
    assert (subject.worse, subject.failed) == (worse, failed)
    assert subject_from_json(json.loads(json.dumps(to_json(subject)))) == subject


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, said in (
        ((tmp_path / "missing.tflite",), "no such file"),
        ((tmp_path,), "there is no .tflite file in this folder"),
    ):
        done = bench(*arguments)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr
    assert list(CHOICES) == list(measure.WAYS)
    monkeypatch.setattr(measure, "run_compiled", failing(HostError("the C does not run")))
    case = measure.Case(OWN, Store(None), inputs=1)
    row = measure._Meter(case, measure.Settings(boards=()), Store(None), lambda *_: None)._ours("layers")
    assert row.reason == "the C does not run"
