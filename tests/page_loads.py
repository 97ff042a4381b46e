"""What a page of HTML makes a browser load from another host."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

_LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
_NOT_LOADED = ("canonical", "prev", "next", "edit")


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(_LOADED.get(tag, "")) or ""
        if "//" in address and not (tag == "link" and values.get("rel") in _NOT_LOADED):
            self.found.append(address)


def references(page: Path) -> list[str]:
    """Addresses on other hosts that the page loads; links that a reader may follow are not among them."""
    loads = _Loads()
    loads.feed(page.read_text())
    return loads.found
