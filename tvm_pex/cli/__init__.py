"""The command ``tvm-pex``: one module for each of plan, compile and verify.

Exit status: 0 done; 1 ``verify`` found a difference; 2 bad input; 3 nothing fits ``--ram`` or ``--pool``. For 2 and 3
one line on standard error says what is wrong.
TVM is imported when a command needs it, so that ``--help`` and ``--version`` do not.
"""

from __future__ import annotations

import click

from tvm_pex import __version__
from tvm_pex.cli.compile import compile_
from tvm_pex.cli.plan import plan
from tvm_pex.cli.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tvm-pex", message="%(prog)s %(version)s")
def main() -> None:
    """Run neural networks slice by slice, in a fraction of the memory, with the same bits."""


for command in (plan, compile_, verify):
    main.add_command(command)
