"""What template projects of every platform have in common: their options, how they are generated, their transport.

A generated project::

    microtvm_api_server.py  the server of this folder
    project_api/            what the server is made of
    project.json            the options that the project was generated with
    model.tar               the archive of ``tvm-pex compile``
    model/                  the same, unpacked
    firmware/               the serial protocol and the model's ports in C
    ...                     and the template's own files
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from .links import ProcessLink, SerialLink
from .server import (
    Handler,
    IoTimeoutError,
    ProjectOption,
    ServerError,
    ServerInfo,
    TransportClosedError,
    TransportTimeouts,
)

ARCHIVE = "model.tar"
_PACKAGE = Path(__file__).resolve().parent
_FIRMWARE = "firmware"
_PORTS = "model_ports.h"


def common_options(boards: Sequence[str]) -> list[ProjectOption]:
    return [
        ProjectOption(
            "project_type",
            "What the firmware does: serve the model over a serial line.",
            choices=["serial"],
            default="serial",
            optional=["generate_project"],
        ),
        ProjectOption("board", "The board to build for.", choices=list(boards), required=["generate_project"]),
        ProjectOption(
            "verbose",
            "Show the output of the tools.",
            type="bool",
            default=False,
            optional=["generate_project", "build", "flash"],
        ),
    ]


class ProjectHandler(Handler):
    """A server's handler in ``folder``, which is a template or a generated project.

    A platform says its name and options, expands its own files, builds, flashes, and opens a link to the device.
    """

    platform: str
    options: list[ProjectOption]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._link: ProcessLink | SerialLink | None = None

    @abstractmethod
    def expand(self, project: Path, options: Mapping[str, Any]) -> None:
        """Turn the template's files in ``project`` into the project's own."""

    @abstractmethod
    def open_link(self, settings: Mapping[str, Any]) -> ProcessLink | SerialLink:
        """A line to the device that runs the project's program, by ``self.settings``."""

    def absolute(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with paths that mean the same wherever the server runs."""
        return dict(options)

    def server_info_query(self, tvm_version: str) -> ServerInfo:
        archive = self.folder / ARCHIVE
        generated = archive.exists()
        return ServerInfo(self.platform, not generated, archive if generated else None, self.options)

    def generate_project(
        self, model_library_format_path: str, standalone_crt_dir: str, project_dir: str, options: dict[str, Any]
    ) -> None:
        if (self.folder / ARCHIVE).exists():
            raise ServerError("this is a generated project: only a template generates projects")
        check_options(self.options, options)
        if options.get("board") is None:
            raise ServerError("the option board is required")
        target = Path(project_dir).resolve()
        if target.exists():
            raise ServerError(f"{target} exists already")
        if not target.parent.is_dir():
            raise ServerError(f"{target.parent} is not a folder")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
            project = Path(name) / "project"
            self._fill(project, Path(model_library_format_path), options)
            os.replace(project, target)  # as a whole or not at all

    def _fill(self, project: Path, archive: Path, options: Mapping[str, Any]) -> None:
        scraps = shutil.ignore_patterns("__pycache__", "client.py")
        shutil.copytree(self.folder, project, ignore=scraps)
        shutil.copytree(_PACKAGE, project / _PACKAGE.name, ignore=scraps)
        shutil.copytree(_PACKAGE.parent / _FIRMWARE, project / _FIRMWARE)
        unpack(archive, project / "model")
        shutil.copyfile(archive, project / ARCHIVE)
        template = project / _FIRMWARE / f"{_PORTS}.in"
        (project / _FIRMWARE / _PORTS).write_text(ports_header(template.read_text(), project))
        template.unlink()
        (project / "project.json").write_text(json.dumps(self.absolute(options), indent=2) + "\n")
        self.expand(project, options)

    def settings(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that the project was generated with, and over them those of a call."""
        try:
            generated = dict(json.loads((self.folder / "project.json").read_text()))
        except FileNotFoundError:
            raise ServerError("this is a template: generate a project first") from None
        given = {name: value for name, value in options.items() if value is not None}
        check_options(self.options, given)
        if given.get("board", generated["board"]) != generated["board"]:
            raise ServerError(f"the project is for {generated['board']}, not {given['board']}: generate another")
        return {**generated, **self.absolute(given)}

    def open_transport(self, options: dict[str, Any]) -> TransportTimeouts:
        if self._link is None:
            self._link = self.open_link(self.settings(options))
        return TransportTimeouts()

    def close_transport(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def read_transport(self, n: int, timeout_sec: float | None) -> bytes:
        data = self._open().read(n, timeout_sec)
        if not data:
            raise IoTimeoutError
        return data

    def write_transport(self, data: bytes, timeout_sec: float | None) -> None:
        self._open().write(data)

    def _open(self) -> ProcessLink | SerialLink:
        if self._link is None:
            raise TransportClosedError("the transport was not opened")
        return self._link


def check_options(known: Sequence[ProjectOption], given: Mapping[str, Any]) -> None:
    """Raises ServerError for an option that is unknown or has a wrong value."""
    by_name = {option.name: option for option in known}
    for name, value in given.items():
        if name not in by_name:
            raise ServerError(f"no option {name}; there are {', '.join(by_name)}")
        option = by_name[name]
        if value is None:
            continue
        if option.choices is not None and value not in option.choices:
            raise ServerError(f"{name} is one of {', '.join(map(str, option.choices))}, not {value}")
        if type(value).__name__ != option.type:
            raise ServerError(f"{name} is of type {option.type}, not {type(value).__name__}")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a Model Library Format archive. Raises ServerError if it is not one."""
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                inside = not member.name.startswith("/") and ".." not in Path(member.name).parts
                if not inside or not (member.isfile() or member.isdir()):
                    raise ServerError(f"{archive}: {member.name} is not a plain file below the archive's folder")
            tar.extractall(folder, members)
    except (OSError, tarfile.TarError) as error:
        raise ServerError(f"{archive} cannot be read: {error}") from None


def ports_header(template: str, project: Path) -> str:
    """``model_ports.h`` of a project: where pools, inputs and outputs lie in one array.

    The pools lie side by side, and behind them the ports that are in none.
    """
    try:
        metadata = json.loads((project / "model" / "metadata.json").read_text())
        arena = metadata["modules"]["default"]["arena"]
        alignment, end = int(arena["alignment"]), 0
        pools: dict[str, int] = {}
        for pool in arena["pools"]:
            pools[str(pool["name"])] = end = -(-end // alignment) * alignment
            end += int(pool["peak_bytes"])
        ports = {kind: [dict(port) for port in arena[kind]] for kind in ("inputs", "outputs")}
    except (OSError, ValueError, KeyError):
        raise ServerError("the archive does not say where its ports lie: make it with tvm-pex compile") from None
    for port in (*ports["inputs"], *ports["outputs"]):
        if port["offset"] is None:
            port["offset"] = -(-end // alignment) * alignment
            end = port["offset"] + port["size"]
        else:
            port["offset"] += pools[port["pool"]]
    return Template(template).substitute(
        model_id=f"{zlib.crc32((project / ARCHIVE).read_bytes()):#010x}u",
        memory_bytes=end,
        alignment=alignment,
        first_pool=next(iter(pools)).upper(),
        pools="".join(f" \\\n  POOL({name}, {at})" for name, at in pools.items()),
        **{
            kind: "".join(f" \\\n  PORT({p['identifier']}, {p['size']}, {p['offset']})" for p in ports[kind])
            for kind in ports
        },
    )
