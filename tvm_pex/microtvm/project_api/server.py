"""Project API servers: JSON-RPC 2.0, one request and one reply a line, over two pipes.

Names and numbers are those of microTVM in Apache TVM 0.18 (``tvm.micro.project_api``), protocol version 1.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

PROTOCOL_VERSION = 1
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
SERVER_ERROR = -32000

METHODS: dict[str, tuple[str, ...]] = {
    "server_info_query": ("tvm_version",),
    "generate_project": ("model_library_format_path", "standalone_crt_dir", "project_dir", "options"),
    "build": ("options",),
    "flash": ("options",),
    "open_transport": ("options",),
    "close_transport": (),
    "read_transport": ("n", "timeout_sec"),
    "write_transport": ("data", "timeout_sec"),
}
_TYPES: dict[str, Any] = {"options": dict, "n": int, "timeout_sec": (int, float, type(None))}


class ProjectOption(NamedTuple):
    """``required`` and ``optional`` list the methods that need, or accept, the option. ``type`` is bool, int or str."""

    name: str
    help: str
    type: str = "str"
    choices: Sequence[Any] | None = None
    default: Any = None
    required: Sequence[str] | None = None
    optional: Sequence[str] | None = None


class ServerInfo(NamedTuple):
    """``model_library_format_path`` is None in a template."""

    platform_name: str
    is_template: bool
    model_library_format_path: Path | None
    project_options: list[ProjectOption]


class TransportTimeouts(NamedTuple):
    """Seconds that a client of TVM's own RPC waits; the serial protocol here has its own."""

    session_start_retry_timeout_sec: float = 2.0
    session_start_timeout_sec: float = 10.0
    session_established_timeout_sec: float = 10.0


class JSONRPCError(Exception):
    """What a reply says instead of a result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class ServerError(JSONRPCError):
    """The server cannot do what a valid request asks for; the message is for the user, in one line."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(SERVER_ERROR, message, data)


class TransportClosedError(ServerError):
    """Nothing can be read or written: not opened, or the other end is gone. ``reason`` says more."""

    def __init__(self, reason: str) -> None:
        super().__init__("TransportClosedError", {"reason": reason})


class IoTimeoutError(ServerError):
    """Nothing was read in time."""

    def __init__(self) -> None:
        super().__init__("IoTimeoutError")


class Handler(Protocol):
    """What a server does; one subclass for each platform. Paths arrive as text, bytes as bytes."""

    def server_info_query(self, tvm_version: str) -> ServerInfo: ...

    def generate_project(
        self, model_library_format_path: str, standalone_crt_dir: str, project_dir: str, options: dict[str, Any]
    ) -> None:
        """Make the folder ``project_dir`` from a Model Library Format archive; of the CRT nothing is needed."""

    def build(self, options: dict[str, Any]) -> None: ...

    def flash(self, options: dict[str, Any]) -> None: ...

    def open_transport(self, options: dict[str, Any]) -> TransportTimeouts: ...

    def close_transport(self) -> None: ...

    def read_transport(self, n: int, timeout_sec: float | None) -> bytes:
        """1 to ``n`` bytes. Raises IoTimeoutError, TransportClosedError."""

    def write_transport(self, data: bytes, timeout_sec: float | None) -> None:
        """Write all of ``data``. Raises TransportClosedError."""


def serve(requests: BinaryIO, replies: BinaryIO, handler: Handler) -> None:
    """Answer every line of ``requests`` until they end."""
    for line in requests:
        replies.write(json.dumps(_reply(line, handler)).encode() + b"\n")
        replies.flush()


def main(handler: Handler) -> None:
    """A server's command line: the two pipes as numbers of open files."""
    parser = argparse.ArgumentParser(description="microTVM Project API server")
    parser.add_argument("--read-fd", type=int, required=True, help="where requests are read")
    parser.add_argument("--write-fd", type=int, required=True, help="where replies are written")
    parser.add_argument("--debug", action="store_true", help="accepted for TVM's client")
    arguments = parser.parse_args()
    with os.fdopen(arguments.read_fd, "rb") as requests, os.fdopen(arguments.write_fd, "wb") as replies:
        try:
            serve(requests, replies, handler)
        except KeyboardInterrupt:  # it goes to the client, too, which is the one to tell
            sys.exit(130)
        finally:
            handler.close_transport()


def _reply(line: bytes, handler: Handler) -> dict[str, Any]:
    number = None
    try:
        request = _parse(line)
        number = request.get("id")
        result = _call(handler, request["method"], _parameters(request))
    except JSONRPCError as error:
        return _failure(number, error.code, error.message, error.data)
    except Exception as error:  # a fault of the server's own: the client shows where
        return _failure(number, SERVER_ERROR, f"{type(error).__name__}: {error}", {"traceback": traceback.format_exc()})
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _failure(number: Any, code: int, message: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message, "data": data}}


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise JSONRPCError(PARSE_ERROR, f"not a line of JSON: {error}") from None
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise JSONRPCError(INVALID_REQUEST, 'a request is an object with "jsonrpc": "2.0"')
    if not isinstance(request.get("id"), (str, int, type(None))):
        raise JSONRPCError(INVALID_REQUEST, "a request's id is text, a number or null")
    if not isinstance(request.get("params"), dict):
        raise JSONRPCError(INVALID_REQUEST, "a request's params are an object")
    if not isinstance(request.get("method"), str):
        raise JSONRPCError(INVALID_REQUEST, "a request's method is text")
    return request


def _parameters(request: dict[str, Any]) -> dict[str, Any]:
    method, given = request["method"], request["params"]
    if method not in METHODS:
        raise JSONRPCError(METHOD_NOT_FOUND, f"{method}: no such method")
    names = METHODS[method]
    if set(given) != set(names):
        raise JSONRPCError(INVALID_PARAMS, f"{method} takes {list(names)}, not {sorted(given)}")
    for name in names:
        if not isinstance(given[name], _TYPES.get(name, str)):
            raise JSONRPCError(INVALID_PARAMS, f"{method}: {name} must not be a {type(given[name]).__name__}")
    return dict(given)


def _call(handler: Handler, method: str, parameters: dict[str, Any]) -> Any:
    if method == "write_transport":
        parameters["data"] = _decoded(parameters["data"])
    result = getattr(handler, method)(**parameters)
    if isinstance(result, bytes):
        return {"data": base64.b85encode(result).decode()}
    if isinstance(result, TransportTimeouts):
        return {"timeouts": result._asdict()}
    if isinstance(result, ServerInfo):
        path = result.model_library_format_path
        return {
            **result._asdict(),
            "protocol_version": PROTOCOL_VERSION,
            "model_library_format_path": "" if path is None else str(path),
            "project_options": [option._asdict() for option in result.project_options],
        }
    return result


def _decoded(text: str) -> bytes:
    try:
        return base64.b85decode(text)
    except ValueError as error:
        raise JSONRPCError(INVALID_PARAMS, f"write_transport: data is not base 85: {error}") from None
