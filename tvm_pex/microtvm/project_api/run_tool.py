"""Run a tool of the build and say in one line what is missing or what went wrong."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .server import ServerError

_LAST = 40  # lines of a failed tool's output that are passed on


def run_tool(
    command: Sequence[str], *, folder: Path, package: str, verbose: bool, environment: Mapping[str, str] | None = None
) -> None:
    """Raises ServerError if the tool is missing (``package`` is where Debian has it) or fails, with its last words."""
    if verbose:
        print("+", " ".join(map(shlex.quote, command)), file=sys.stderr, flush=True)
    try:
        done = subprocess.run(
            list(command),
            cwd=str(folder),
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError:
        raise ServerError(f"{command[0]} is not installed ({package})") from None
    if verbose:
        print(done.stdout, end="", file=sys.stderr, flush=True)
    if done.returncode:
        words = "\n".join(done.stdout.splitlines()[-_LAST:])
        raise ServerError(f"{Path(command[0]).name} failed with status {done.returncode}", {"output": words})
