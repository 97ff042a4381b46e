"""Results on disk, so that an interrupted run goes on where it was: one file for each, written as a whole."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tvm_pex.files import write_whole
from tvm_pex.port_files import Array

_PACKAGE = Path(__file__).parents[1]
_AROUND = ("benchmark", "cli", "codesign", "report")  # what does not change a result


class Store:
    """Values by name and by everything that they depend on; nothing is kept without a ``folder``, which is made.

    What is damaged is made again.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def value(self, name: str, depends: Sequence[str], make: Callable[[], Any]) -> Any:
        """A value of JSON, made where it is not there. Raises OSError where it cannot be written."""
        if self.folder is None:
            return make()
        path = self._path(name, depends, "json")
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            made = make()
            self._write(path, json.dumps(made).encode())
            return made

    def arrays(self, name: str, depends: Sequence[str], make: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """Likewise, arrays by name, in the order in which they were made."""
        if self.folder is None:
            return dict(make())
        path = self._path(name, depends, "npz")
        try:
            with np.load(path) as kept:
                return {key: kept[key] for key in kept.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            made = make()
            content = io.BytesIO()
            np.savez(content, **made)  # type: ignore[arg-type]
            self._write(path, content.getvalue())
            return dict(made)

    def _path(self, name: str, depends: Sequence[str], kind: str) -> Path:
        assert self.folder is not None
        digest = hashlib.sha256(json.dumps(list(depends)).encode()).hexdigest()[:16]
        return self.folder / f"{name}-{digest}.{kind}"

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


@functools.cache
def own_revision() -> str:
    """Of all sources that have a part in planning, building and running."""
    paths = sorted(path for path in _PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return _digest(tuple(path for path in paths if path.relative_to(_PACKAGE).parts[0] not in _AROUND))


@functools.cache
def stock_revision() -> str:
    """Of the sources that have a part in building stock TVM's programs."""
    return _digest(tuple(_PACKAGE / path for path in ("lowering/aot.py", "verification/stock_baseline.py")))


def _digest(paths: Sequence[Path]) -> str:
    content = hashlib.sha256()
    for path in paths:
        content.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    return content.hexdigest()
