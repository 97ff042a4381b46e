"""``tvm-pex compile``."""

from __future__ import annotations

from pathlib import Path

import click

from tvm_pex.cli import hops
from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.planning import Request, check_output, compile_request, planning, print_json, progress
from tvm_pex.report import tables


@click.command("compile")
@planning
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT.tar", help="The file to write."
)
def compile_(request: Request, output: Path) -> None:
    """Write C sources, headers and metadata into a .tar file.

    \b
    Examples:
      tvm-pex compile model.tflite -o model.tar
      tvm-pex compile --overwrite-input model.tflite -o model.tar
      tar -xf model.tar && cc -c -Iruntime/include -Icodegen/host/include codegen/host/src/*.c
    """
    check_output(output, "-o")
    if request.hop is not None:
        with progress() as step:
            split = hops.compile_hops(request, step)
        hops.write_hops(request, split, output)
        return
    with progress() as step:
        model, compiled = compile_request(request, step)
    from tvm_pex.microtvm.archive import metadata, write_archive

    try:
        write_archive(model, compiled, output)
    except OSError as error:
        raise BadInput(f"{output}: cannot be written: {error.strerror}") from None
    if request.as_json:
        print_json({"output": str(output), **metadata(model, compiled)})
    else:
        tables.show_archive(output, compiled.report, compiled.build)
