"""The Project API from a client: projects of the bare-metal template, from the archive to outputs on QEMU's UART."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_line import Faults, FaultyLine
from model_files import OWN
from toy_archive import ARENA, toy_inputs, toy_output, write_toy_archive

from tvm_pex.microtvm import Project, boards, generate_project
from tvm_pex.microtvm.generated_project import TEMPLATES
from tvm_pex.microtvm.project_api import qemu
from tvm_pex.microtvm.project_api.client import ProjectAPIClient, ProjectAPIError
from tvm_pex.microtvm.project_api.qemu import QemuHandler
from tvm_pex.microtvm.project_api.server import ServerError
from tvm_pex.microtvm.serial_protocol import DeviceError, LineError, Patience, Session
from tvm_pex.pools import MemoryPool

BOARD = "mps2-an386"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_archive(tmp_path_factory.mktemp("archive") / "model.tar")


@pytest.fixture(scope="module")
def built(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qemu") / "project"
    with generate_project("qemu", archive, folder, board=BOARD) as project:
        project.build()
    return folder


@pytest.fixture
def project(built: Path) -> Iterator[Project]:
    with Project(built) as project:
        yield project


def test_from_archive_to_outputs(project: Project) -> None:
    for seed in range(5):
        inputs = toy_inputs(seed)
        assert np.array_equal(project.run(inputs)["y"], toy_output(inputs))
    assert project.stack_bytes is not None
    assert 0 < project.stack_bytes < 1024
    project.flash()  # hangs up; the next run starts the emulator again
    assert np.array_equal(project.run(inputs)["y"], toy_output(inputs))


def test_every_file_of_the_project(built: Path) -> None:
    files = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    assert {"model.tar", "project.json", "microtvm_api_server.py", "firmware/protocol.c", "board.mk"} <= files
    assert {"project_api/server.py", "model/metadata.json", "model/codegen/host/src/network.c"} <= files
    assert not any(file.endswith((".in", ".pyc")) or "client" in file for file in files)
    ports = (built / "firmware/model_ports.h").read_text()
    assert "PORT(x, 600, 112)" in ports
    assert "PORT(side, 20, 1008)" in ports  # outside the arena of 997 bytes: behind it
    assert "MODEL_MEMORY_BYTES 1028" in ports


def test_the_same_core_as_for_run() -> None:
    """A project stands alone, so it has the compiler's options a second time."""
    assert {name: tuple(flags.split()) for name, (_, flags) in qemu.BOARDS.items()} == {
        name: boards.BOARDS[name].flags for name in qemu.BOARDS
    }


def test_memory_is_arena_stack_and_a_constant(built: Path) -> None:
    """No hidden copy of an input, an output or the arena in the ELF."""
    sizes = subprocess.run(
        ["arm-none-eabi-size", "-A", "build/firmware.elf"], cwd=built, check=True, capture_output=True, text=True
    ).stdout
    section = {line.split()[0]: int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".")}
    constant = section[".stack"] + section[".data"] + section[".bss"] - 2048 - 1028
    assert 0 < constant <= 512


def test_build_needs_neither_tvm_nor_tvm_pex(archive: Path, tmp_path: Path) -> None:
    """Python without site-packages, and a folder that was moved."""
    generate_project("qemu", archive, tmp_path / "project", board="mps2-an385").close()
    moved = (tmp_path / "project").rename(tmp_path / "moved")
    request = {"jsonrpc": "2.0", "id": 7, "method": "build", "params": {"options": {}}}
    requests, write = os.pipe()
    read, replies = os.pipe()
    command = [sys.executable, "-I", "-S", str(moved / "microtvm_api_server.py")]
    fds = ["--read-fd", str(requests), "--write-fd", str(replies)]
    with subprocess.Popen([*command, *fds], pass_fds=(requests, replies), cwd=tmp_path) as process:
        os.close(requests)
        os.close(replies)
        with os.fdopen(write, "wb") as sink, os.fdopen(read) as source:
            sink.write(json.dumps(request).encode() + b"\n")
            sink.flush()
            assert json.loads(source.readline()) == {"jsonrpc": "2.0", "id": 7, "result": None}
    assert process.returncode == 0
    assert (moved / "build/firmware.elf").exists()


def test_a_bad_line_to_the_emulated_uart(built: Path) -> None:
    client = ProjectAPIClient(built)
    try:
        client.open_transport({})
        Session(client).info()  # it is up
        draw = random.Random(5)
        line = FaultyLine(client, *(Faults(draw, 0.0015, 0.01, replays=False) for _ in range(2)))
        session = Session(line, Patience(seconds=0.3, tries=40), seed=3)
        for seed in range(6):
            inputs = toy_inputs(seed)
            run = session.run([value.tobytes() for value in inputs.values()], [600])
            assert run.outputs == (toy_output(inputs).tobytes(),)
        assert min(sum(faults.count.values()) for faults in (line.to_device, line.to_host)) >= 1
    finally:
        client.close()


def test_what_goes_wrong_on_the_device(project: Project) -> None:
    inputs = toy_inputs(0)
    inputs["side"][0] = 100
    with pytest.raises(DeviceError, match="the model failed"):
        project.run(inputs)
    inputs["side"][0] = 101
    with pytest.raises((DeviceError, LineError), match=r"stack overflowed|no good answer to run"):
        project.run(inputs, Patience(seconds=0.5, tries_to_run=5))


def test_a_device_that_hangs_answers_again_after_a_restart(project: Project) -> None:
    inputs = toy_inputs(0)
    inputs["side"][0] = 102
    with pytest.raises(LineError, match=r"no good answer to run after 5 tries of 0\.5 s: the program hangs"):
        project.run(inputs, Patience(seconds=0.5, tries_to_run=5))
    with pytest.raises(LineError, match="no good answer to reset after 2 tries"):
        project.run(toy_inputs(0), Patience(seconds=0.5, tries=2))
    project.flash()
    assert np.array_equal(project.run(toy_inputs(1))["y"], toy_output(toy_inputs(1)))


def test_an_emulator_that_dies(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qemu-system-arm").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "qemu-system-arm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Project(project.folder) as dying:
        with pytest.raises(ProjectAPIError, match="has ended, with status 3"):
            dying.run(toy_inputs(0))
        (tmp_path / "qemu-system-arm").unlink()  # the real one is left
        assert np.array_equal(dying.run(toy_inputs(0))["y"], toy_output(toy_inputs(0)))


def test_the_device_runs_another_model(built: Path, tmp_path: Path) -> None:
    other = write_toy_archive(tmp_path / "other.tar", names={"./other.txt": "another archive"})
    with generate_project("qemu", other, tmp_path / "project", board=BOARD) as project:
        (tmp_path / "project" / "build").mkdir()
        (tmp_path / "project" / "build" / "firmware.elf").write_bytes((built / "build/firmware.elf").read_bytes())
        with pytest.raises(LineError, match="another model"):
            project.run(toy_inputs(0))


def test_wrong_inputs(project: Project) -> None:
    inputs = toy_inputs(0)
    with pytest.raises(ValueError, match="the input side is missing"):
        project.run({"x:0": inputs["x:0"]})
    with pytest.raises(ValueError, match=r"side is int8\(20,\), not float64"):
        project.run({**inputs, "side": np.zeros(20)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the option board is required"),
        ({"board": "uno"}, "board is one of mps2-an385, .* not uno"),
        ({"board": BOARD, "speed": 9}, "no option speed; there are project_type, board"),
        ({"board": BOARD, "config_main_stack_size": "2k"}, "config_main_stack_size is of type int, not str"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectAPIError, match=message):
        generate_project("qemu", archive, tmp_path / "project", **options)
    assert list(tmp_path.iterdir()) == []


def test_options_of_a_call(built: Path) -> None:
    handler = QemuHandler(built)
    assert handler.settings({"verbose": None}) == {"board": BOARD}
    assert handler.settings({"board": BOARD, "verbose": True}) == {"board": BOARD, "verbose": True}
    for call in (handler.build, handler.flash, handler.open_transport):
        with pytest.raises(ServerError, match=f"the project is for {BOARD}, not mps2-an385"):
            call({"board": "mps2-an385"})
        with pytest.raises(ServerError, match="no option speed"):
            call({"speed": 9})


def test_wrong_archives(archive: Path, tmp_path: Path) -> None:
    bad = {
        "no.tar": (None, "No such file"),
        "text.tar": (tmp_path.joinpath("text.tar").write_text("text"), "cannot be read"),
        "stock.tar": (write_toy_archive(tmp_path / "stock.tar", arena=None), "make it with tvm-pex compile"),
        "outside.tar": (write_toy_archive(tmp_path / "outside.tar", ARENA, {"../x": ""}), "not a plain file below"),
    }
    before = sorted(tmp_path.iterdir())
    for name, (_, message) in bad.items():
        with pytest.raises(ProjectAPIError, match=message):
            generate_project("qemu", tmp_path / name, tmp_path / "project", board=BOARD)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ProjectAPIError, match="exists already"):
        generate_project("qemu", archive, tmp_path, board=BOARD)
    with pytest.raises(ProjectAPIError, match="is not a folder"):
        generate_project("qemu", archive, tmp_path / "no" / "project", board=BOARD)


def test_wrong_order(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectAPIError, match="is a template"):
        Project(TEMPLATES / "qemu")
    with pytest.raises(ProjectAPIError, match=r"has no microtvm_api_server\.py"):
        Project(tmp_path)
    with generate_project("qemu", archive, tmp_path / "project", board=BOARD) as project:
        for step in (project.flash, lambda: project.run(toy_inputs(0))):
            with pytest.raises(ProjectAPIError, match="not built yet"):
                step()
    with pytest.raises(ProjectAPIError, match="not a template"):
        generate_project(tmp_path / "project", archive, tmp_path / "second", board=BOARD)


def test_a_build_that_fails_has_the_compilers_words(archive: Path, tmp_path: Path) -> None:
    with generate_project("qemu", archive, tmp_path / "project", board=BOARD) as project:
        (tmp_path / "project/src/main.c").write_text("int main(void) { return nothing; }\n")
        with pytest.raises(ProjectAPIError, match=r"(?s)make failed with status 2.*'nothing' undeclared"):
            project.build()


def test_missing_tools_are_named(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    handler = QemuHandler(built)
    with pytest.raises(ServerError, match=r"make is not installed \(Debian: apt-get install .*gcc-arm-none-eabi"):
        handler.build({})
    with pytest.raises(ServerError, match="qemu-system-arm is not installed"):
        handler.open_transport({})


@pytest.mark.parametrize("pools", [(), (MemoryPool("fast", 6000, 1), MemoryPool("slow", 9000, 4))])
def test_our_network_on_the_emulated_board(pools: tuple[MemoryPool, ...], tmp_path: Path) -> None:
    """The same bytes as the same C built for this machine, which other tests hold against stock TVM."""
    from tvm_pex.compiler import compile_model
    from tvm_pex.frontend.tflite_model import load_model
    from tvm_pex.microtvm.archive import write_archive
    from tvm_pex.options import PlanOptions
    from tvm_pex.verification.host_run import compile_host, run_host

    model = load_model(OWN)
    compiled = compile_model(model, PlanOptions(overwrite_input=True, pools=pools))
    write_archive(model, compiled, tmp_path / "model.tar")
    (port,) = compiled.build.inputs
    images = np.random.default_rng(1).integers(-128, 128, (4, *port.shape), np.int8)
    expected = run_host(
        compile_host(compiled.build, tmp_path / "host"),
        {port.name: images},
        pools=compiled.pool_bytes,
        input_places=compiled.input_places,
        output_places=compiled.output_places,
    ).outputs
    with generate_project("qemu", tmp_path / "model.tar", tmp_path / "project", board=BOARD) as project:
        project.build().flash()
        for image, *outputs in zip(images, *expected.values()):
            assert all(map(np.array_equal, project.run({port.name: image}).values(), outputs))
        assert project.stack_bytes is not None
        assert project.stack_bytes <= 1024
