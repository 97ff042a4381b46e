"""The command ``tvm-pex``: one module for each command.

Exit status: 0 done; 1 ``verify`` or ``run`` found a difference; 2 bad input or a missing tool; 3 nothing fits
``--ram``, ``--pool`` or the device; 4 the firmware did not end; 130 broken off. For 2 and more one line says what is
wrong.
TVM is imported when a command needs it, so that ``--help`` and ``--version`` do not.
"""

from __future__ import annotations

import click

from tvm_pex import __version__
from tvm_pex.cli.bench import bench
from tvm_pex.cli.compile import compile_
from tvm_pex.cli.endings import Commands
from tvm_pex.cli.plan import plan
from tvm_pex.cli.prune import prune
from tvm_pex.cli.run import run
from tvm_pex.cli.scale import scale
from tvm_pex.cli.sweep import sweep
from tvm_pex.cli.verify import verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tvm-pex", message="%(prog)s %(version)s")
def main() -> None:
    """Run neural networks slice by slice, in a fraction of the memory, with the same bits."""


for command in (plan, compile_, verify, run, bench, prune, scale, sweep):
    main.add_command(command)
