"""Keeps what libraries write past Python off standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_python_on_stderr() -> Iterator[None]:
    """What libraries in C++ log to file descriptor 2, whatever they are told, goes nowhere meanwhile."""
    before, kept = sys.stderr, os.dup(2)
    with os.fdopen(os.dup(2), "w") as sys.stderr, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            sys.stderr = before
