"""The Project API: servers as a client sees them, and the bare-metal template on QEMU."""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import random
import signal
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

from tvm_pex.microtvm import Project, boards, generate_project, project_api
from tvm_pex.microtvm.generated_project import TEMPLATES
from tvm_pex.microtvm.project_api import qemu
from tvm_pex.microtvm.project_api.client import ProjectAPIClient, ProjectAPIError
from tvm_pex.microtvm.project_api.qemu import QemuHandler
from tvm_pex.microtvm.project_api.server import Handler, IoTimeoutError, ProjectOption, ServerError, ServerInfo, serve
from tvm_pex.microtvm.serial_protocol import DeviceError, LineError, Patience, Session
from tvm_pex.pools import MemoryPool

BOARD = "mps2-an386"
PACKAGE = Path(project_api.__file__).parent


class Stub(Handler):
    """Gives what it is asked for, or the trouble that ``n`` stands for."""

    def server_info_query(self, tvm_version: str) -> ServerInfo:
        return ServerInfo("stub", True, None, [ProjectOption("board", "which", choices=["a"], required=["build"])])

    def read_transport(self, n: int, timeout_sec: float | None) -> bytes:
        if n == 1:
            raise IoTimeoutError
        if n == 2:
            raise ServerError("one clear line")
        if n == 3:
            raise RuntimeError("a fault of the server's own")
        return bytes(range(n))

    def write_transport(self, data: bytes, timeout_sec: float | None) -> None:
        assert data == b"\xc0\x00"

    def close_transport(self) -> None:
        pass


def ask(*lines: str | dict[str, Any]) -> list[dict[str, Any]]:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    replies = io.BytesIO()
    serve(io.BytesIO(text.encode()), replies, Stub())
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def test_replies() -> None:
    info, data, written, closed = ask(
        request("server_info_query", tvm_version="0.18.0"),
        request("read_transport", n=4, timeout_sec=0.5),
        request("write_transport", data=base64.b85encode(b"\xc0\x00").decode(), timeout_sec=None),
        request("close_transport"),
    )
    assert info["result"]["protocol_version"] == 1
    assert info["result"]["model_library_format_path"] == ""
    option = info["result"]["project_options"][0]
    assert set(option) == {"name", "choices", "default", "type", "required", "optional", "help"}
    assert base64.b85decode(data["result"]["data"]) == b"\x00\x01\x02\x03"
    assert written == closed == {"jsonrpc": "2.0", "id": 7, "result": None}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", -32700),
        ("[]", -32600),
        ({"id": 7, "method": "build", "params": {}}, -32600),
        ({**request("build"), "params": []}, -32600),
        ({**request("build"), "id": [1]}, -32600),
        (request("serve"), -32601),
        (request("__init__"), -32601),
        (request("build"), -32602),
        (request("build", options={}, more=1), -32602),
        (request("build", options=[]), -32602),
        (request("read_transport", n="4", timeout_sec=1), -32602),
        (request("write_transport", data='"', timeout_sec=1), -32602),
        (request("read_transport", n=1, timeout_sec=1), -32000),
    ],
)
def test_errors_have_their_codes_and_the_server_goes_on(line: str | dict[str, Any], code: int) -> None:
    failed, after = ask(line, request("read_transport", n=4, timeout_sec=1))
    assert failed["error"]["code"] == code
    assert failed["id"] in (7, None)
    assert "result" in after


def test_errors_of_a_handler() -> None:
    timeout, clear, fault = (ask(request("read_transport", n=n, timeout_sec=1))[0]["error"] for n in (1, 2, 3))
    assert timeout["message"] == "IoTimeoutError"  # TVM's client makes its own class of the name
    assert (clear["message"], clear["data"]) == ("one clear line", None)
    assert "RuntimeError: a fault" in fault["message"]
    assert "in read_transport" in fault["data"]["traceback"]


class NoAnnotations(ast.NodeTransformer):
    """Leaves what is evaluated when the module runs."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return node.value and ast.Expr(self.visit(node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


COPIED = [path for path in (*PACKAGE.glob("*.py"), *TEMPLATES.rglob("*.py")) if path.name != "client.py"]


@pytest.mark.parametrize("path", COPIED, ids=lambda path: path.stem)
def test_servers_run_on_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    evaluated = (node.value for node in ast.walk(NoAnnotations().visit(tree)) if isinstance(node, ast.Subscript))
    names = {value.id for value in evaluated if isinstance(value, ast.Name)}
    assert not names & {"dict", "list", "set", "tuple", "type", "Mapping", "Sequence"}  # 3.9 made them generic
    roots = {node.names[0].name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import)}
    roots |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
    assert roots - {"project_api", "serial"} <= sys.stdlib_module_names


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
    requests, write = os.pipe()
    read, replies = os.pipe()
    command = [sys.executable, "-I", "-S", str(moved / "microtvm_api_server.py")]
    fds = ["--read-fd", str(requests), "--write-fd", str(replies)]
    with subprocess.Popen([*command, *fds], pass_fds=(requests, replies), cwd=tmp_path) as process:
        os.close(requests)
        os.close(replies)
        with os.fdopen(write, "wb") as sink, os.fdopen(read) as source:
            sink.write(json.dumps(request("build", options={})).encode() + b"\n")
            sink.flush()
            assert json.loads(source.readline()) == {"jsonrpc": "2.0", "id": 7, "result": None}
    assert process.returncode == 0
    assert (moved / "build/firmware.elf").exists()


def test_ctrl_c_ends_a_server_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    client = ProjectAPIClient(TEMPLATES / "qemu")
    client.server_info_query()  # it is up
    client._process.send_signal(signal.SIGINT)
    with pytest.raises(ProjectAPIError, match="the server ended, with status 130"):
        client.server_info_query()
    client.close()
    assert capfd.readouterr().err == ""


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
    with Project(project.folder) as dying, pytest.raises(ProjectAPIError, match="has ended, with status 3"):
        dying.run(toy_inputs(0))


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
