"""How a command ends when it cannot do what was asked: one line on standard error, and an exit status."""

from __future__ import annotations

from typing import Any

import click


class BadInput(click.ClickException):
    """Exit status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"tvm-pex: {' '.join(self.message.split())}", file=file, err=True)


class NothingFits(BadInput):
    """Nothing fits the budget that was given: exit status 3."""

    exit_code = 3


class FirmwareFailed(BadInput):
    """The firmware did not come to its end: exit status 4."""

    exit_code = 4


class Interrupted(BadInput):
    """The user broke it off: exit status 130, as shells have it."""

    exit_code = 130
