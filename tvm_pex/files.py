"""Write files as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; what was there stays if that fails. Raises OSError.

    A device or a pipe has nothing to keep, and stays what it is.
    """
    path = path.resolve()  # of a link the file that it names, not the link, is to be another
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
