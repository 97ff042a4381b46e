"""What mkdocs does for this project besides: figures and the command reference are made when the pages are built.

A page names a figure as ``<!-- figure: NAME -->``; ``commands.md`` is the help of each command.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import click
from figures import facts, figures
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

_FIGURE = re.compile(r"<!-- figure: ([\w-]+) -->")
_FACT = re.compile(r"<!-- fact: (\w+) -->")


def on_files(files: Files, config: Any) -> Files:
    """Adds the page of commands."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts figures, and figures of speech that are numbers, where a page asks for them."""
    drawn, known = (figures(), facts()) if _FIGURE.search(markdown) or _FACT.search(markdown) else ({}, {})

    def figure(match: re.Match[str]) -> str:
        if match[1] not in drawn:
            raise PluginError(f"there is no figure {match[1]}")
        return f"<figure markdown='0'>{drawn[match[1]]}</figure>"

    return _FACT.sub(lambda match: f"{known[match[1]]:,}", _FIGURE.sub(figure, markdown))


def commands_page() -> str:
    """Markdown of every command's help, as the terminal shows it."""
    from tvm_pex.cli import main

    parts = ["# Commands", "What `--help` prints, of each command.", _help(main, "tvm-pex")]
    for name, command in main.commands.items():
        parts += [f"## {name}", _help(command, f"tvm-pex {name}")]
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    return f"```text\n{command.get_help(context).strip()}\n```"
