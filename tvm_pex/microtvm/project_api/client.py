"""Drives a Project API server as a process of its own, as TVM's client does."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from .server import PROTOCOL_VERSION, JSONRPCError

SERVER = "microtvm_api_server.py"


class ProjectAPIError(Exception):
    """The server says that it cannot do what was asked, or is no such server; the message has its words."""


class ProjectAPIClient:
    """A server of ``folder``, running. Each method of the Project API is one here; all raise ProjectAPIError."""

    def __init__(self, folder: Path) -> None:
        script = folder.resolve() / SERVER
        if not script.is_file():
            raise ProjectAPIError(f"{folder} has no {SERVER}")
        requests, self._write_fd = os.pipe()
        self._read_fd, replies = os.pipe()
        command = [sys.executable, str(script), "--read-fd", str(requests), "--write-fd", str(replies)]
        # In the caller's own folder: paths among the options are relative to it.
        self._process = subprocess.Popen(command, pass_fds=(requests, replies))
        os.close(requests)
        os.close(replies)
        self._requests = os.fdopen(self._write_fd, "wb", buffering=0)
        self._replies = os.fdopen(self._read_fd, "rb")
        self._number = 0

    def close(self) -> None:
        """End the server, which closes its transport."""
        self._requests.close()
        self._replies.close()
        self._process.wait()

    def server_info_query(self) -> dict[str, Any]:
        info = cast(dict[str, Any], self._call("server_info_query", tvm_version="0.18.0"))
        if info["protocol_version"] != PROTOCOL_VERSION:
            raise ProjectAPIError(f"the server speaks version {info['protocol_version']} of the Project API, not 1")
        return info

    def generate_project(self, archive: Path, project: Path, options: dict[str, Any]) -> None:
        self._call(
            "generate_project",
            model_library_format_path=str(archive.resolve()),
            standalone_crt_dir="",
            project_dir=str(project.resolve()),
            options=options,
        )

    def build(self, options: dict[str, Any]) -> None:
        self._call("build", options=options)

    def flash(self, options: dict[str, Any]) -> None:
        self._call("flash", options=options)

    def open_transport(self, options: dict[str, Any]) -> None:
        self._call("open_transport", options=options)

    def close_transport(self) -> None:
        self._call("close_transport")

    def read(self, count: int, timeout: float) -> bytes:
        """1 to ``count`` bytes, or none when none came within ``timeout`` seconds."""
        try:
            answer = cast(dict[str, str], self._request("read_transport", n=count, timeout_sec=timeout))
        except JSONRPCError as error:
            if error.message == "IoTimeoutError":
                return b""
            raise _error("read_transport", error) from None
        return base64.b85decode(answer["data"])

    def write(self, data: bytes) -> None:
        self._call("write_transport", data=base64.b85encode(data).decode(), timeout_sec=None)

    def _call(self, method: str, **parameters: Any) -> Any:
        try:
            return self._request(method, **parameters)
        except JSONRPCError as error:
            raise _error(method, error) from None

    def _request(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": parameters}
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            line = self._replies.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise ProjectAPIError(f"the server ended, with status {self._process.wait()}, before it answered {method}")
        reply = json.loads(line)
        if reply.get("id") != self._number:
            raise ProjectAPIError(f"the server answers request {reply.get('id')} instead of {self._number}")
        if "error" in reply:
            raise JSONRPCError(**reply["error"])
        return reply["result"]


def _error(method: str, error: JSONRPCError) -> ProjectAPIError:
    details = error.data if isinstance(error.data, dict) else {}
    if error.message == "TransportClosedError":
        return ProjectAPIError(f"the device is gone: {details.get('reason')}")
    more = "".join(f"\n{details[key]}" for key in ("output", "traceback") if key in details)
    return ProjectAPIError(f"{method}: {error.message}{more}")
