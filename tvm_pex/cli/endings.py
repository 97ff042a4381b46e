"""What may end any command, wherever it is: a wrong option, a full disk, the user. Each in one line."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from typing import Any

import click

from tvm_pex.cli.errors import BadInput, Interrupted

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)
"""What a machine has no room for or does not allow. Any other OSError that nobody expected is a bug."""

_AGAIN = 0.02  # seconds


class Commands(click.Group):
    """A group of commands that end in one line also where they cannot foresee it."""

    def invoke(self, ctx: click.Context) -> Any:
        interrupts = _Interrupts()
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else ctx.command_path
            raise BadInput(f"{error.format_message().rstrip('.')}; see {command} --help") from None
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            if error.filename is not None:
                raise BadInput(f"{error.filename}: {error.strerror}") from None
            _forget_output()
            places = f"its output, or temporary files in {tempfile.gettempdir()}"
            raise BadInput(f"cannot write {places}: {error.strerror}") from None
        except Exception:
            if interrupts.seen:  # TVM makes an error of its own of what stopped our part of it
                raise Interrupted("interrupted") from None
            raise


class _Interrupts:
    """Python drops a KeyboardInterrupt in what C++ has called: here it comes again, until C++ has returned."""

    def __init__(self) -> None:
        self.seen = False
        self.usual = sys.unraisablehook
        sys.unraisablehook = self.hook
        signal.signal(signal.SIGALRM, signal.default_int_handler)

    def hook(self, unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            self.usual(unraisable)
            return
        self.seen = True
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _forget_output() -> None:
    """Python would try once more, at its end, to write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
