"""A firmware project from an archive, driven through the Project API: ``generate_project().build().flash().run()``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_pex.microtvm.project_api.client import ProjectAPIClient, ProjectAPIError
from tvm_pex.microtvm.project_api.project import ARCHIVE
from tvm_pex.microtvm.serial_protocol import LineError, Patience, Session

TEMPLATES = Path(__file__).with_name("templates")

Array = npt.NDArray[Any]


def generate_project(template: str | Path, archive: str | Path, folder: str | Path, **options: Any) -> Project:
    """Make ``folder``, which must not exist, a project that serves the model of ``archive``.

    ``template`` is ``"qemu"``, ``"zephyr"`` or the folder of another template; ``archive`` comes from ``tvm-pex
    compile``; ``options`` are the template's. The project builds without TVM and without tvm_pex.
    Raises ProjectAPIError.
    """
    ours = TEMPLATES / template
    source = ours if ours.is_dir() else Path(template)
    client = ProjectAPIClient(source)
    try:
        if not client.server_info_query()["is_template"]:
            raise ProjectAPIError(f"{source} is a generated project, not a template")
        client.generate_project(Path(archive), Path(folder), options)
    finally:
        client.close()
    return Project(folder, **options)


class Project:
    """A generated project with its server running; to be closed, or used as a context.

    ``options`` go to the server with each call. ``stack_bytes`` is, after a run, the most that the device has used of
    its stack since it was started.
    """

    def __init__(self, folder: str | Path, **options: Any) -> None:
        """Raises ProjectAPIError if ``folder`` is no generated project."""
        self.folder = Path(folder)
        self.options = options
        self.stack_bytes: int | None = None
        self._client = ProjectAPIClient(self.folder)
        self._session: Session | None = None
        if self._client.server_info_query()["is_template"]:
            self._client.close()
            raise ProjectAPIError(f"{folder} is a template: generate a project first")
        metadata = json.loads((self.folder / "model" / "metadata.json").read_text())
        self._arena = metadata["modules"]["default"]["arena"]

    def build(self) -> Project:
        """Raises ProjectAPIError, with the last words of the tool that failed."""
        self._hang_up()
        self._client.build(self.options)
        return self

    def flash(self) -> Project:
        """Put the built program on the board; an emulator loads it when it starts. Raises ProjectAPIError."""
        self._hang_up()
        self._client.flash(self.options)
        return self

    def run(self, inputs: Mapping[str, Array], patience: Patience = Patience()) -> dict[str, Array]:
        """Outputs by name for one inference; ``inputs`` map each input's name to an array of its shape and dtype.

        Raises ValueError for inputs of another shape or dtype, LineError and DeviceError for what goes wrong on the
        line and on the device, ProjectAPIError if the device cannot be reached.
        """
        data = [_bytes_of(port, inputs) for port in self._arena["inputs"]]
        outputs = self._arena["outputs"]
        try:
            session = self._session or self._open(patience)
            session.patience = patience
            run = session.run(data, [port["size"] for port in outputs])
        except ProjectAPIError:  # the device is gone: the next run looks for it anew
            self._hang_up()
            raise
        self.stack_bytes = run.stack_bytes
        return {
            port["name"]: np.frombuffer(part, port["dtype"]).reshape(port["shape"])
            for port, part in zip(outputs, run.outputs, strict=True)
        }

    def close(self) -> None:
        self._client.close()

    def _open(self, patience: Patience) -> Session:
        self._client.open_transport(self.options)
        session = Session(self._client, patience)
        expected = zlib.crc32((self.folder / ARCHIVE).read_bytes())
        if session.info().model_id != expected:
            raise LineError("the device runs another model: build and flash this project first")
        self._session = session
        return session

    def _hang_up(self) -> None:
        self._session = None
        self._client.close_transport()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes_of(port: Mapping[str, Any], inputs: Mapping[str, Array]) -> bytes:
    shape, dtype = tuple(port["shape"]), np.dtype(port["dtype"])
    if port["name"] not in inputs:
        raise ValueError(f"the input {port['name']} is missing")
    value = inputs[port["name"]]
    if value.shape != shape or value.dtype != dtype:
        raise ValueError(f"{port['name']} is {dtype}{shape}, not {value.dtype}{value.shape}")
    return value.tobytes()
