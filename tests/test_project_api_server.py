"""A Project API server, line by line, and what it may be made of."""

from __future__ import annotations

import ast
import base64
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tvm_pex.microtvm import project_api
from tvm_pex.microtvm.generated_project import TEMPLATES
from tvm_pex.microtvm.project_api.client import ProjectAPIClient, ProjectAPIError
from tvm_pex.microtvm.project_api.server import Handler, IoTimeoutError, ProjectOption, ServerError, ServerInfo, serve

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


def test_ctrl_c_ends_a_server_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
    client = ProjectAPIClient(TEMPLATES / "qemu")
    signal.signal(signal.SIGINT, usual)
    client.server_info_query()  # it is up
    client._process.send_signal(signal.SIGINT)
    with pytest.raises(ProjectAPIError, match="the server ended, with status 130"):
        client.server_info_query()
    client.close()
    assert capfd.readouterr().err == ""


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
