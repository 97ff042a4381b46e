"""Tools of the system that are not there: which, and the Debian packages that bring them."""

from __future__ import annotations


class MissingTools(Exception):
    """One line that names the packages."""

    def __init__(self, tool: str, packages: str) -> None:
        super().__init__(f"{tool} is not installed (Debian: apt-get install --no-install-recommends {packages})")
