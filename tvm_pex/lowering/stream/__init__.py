"""The C interface of a network whose input comes by rows, around TVM's C of one step of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from string import Template

from tvm_pex.lowering.aot import HEADERS, MODULE, SOURCES, CBuild, CPort, RowInput, interface_header

_HERE = Path(__file__).parent
_HEADER, _SOURCE = f"tvmgen_{MODULE}_stream.h", f"{MODULE}_stream.c"


def with_interface(step: CBuild, position: int, whole: CPort, rows: int) -> CBuild:
    """``step`` takes one row as its input at ``position``, and as its last the row's number.

    The result takes the ``whole`` input in one call, or its ``rows`` by and by: see tvmgen_default_stream.h.
    """
    row = step.inputs[position]
    ports = list(step.inputs[:-1])
    ports[position] = dataclasses.replace(whole, identifier=row.identifier)
    words = {
        "member": row.identifier,
        "rows": rows,
        "row_bytes": row.bytes,
        "has_pools": int(bool(step.pools)),
    }
    files = {
        **step.files,
        f"{HEADERS}/tvmgen_{MODULE}.h": interface_header(MODULE, step.pools, ports, step.outputs),
        f"{HEADERS}/{_HEADER}": Template((_HERE / f"{_HEADER}.in").read_text()).substitute(words),
        f"{SOURCES}/{_SOURCE}": (_HERE / _SOURCE).read_text(),
    }
    row_input = RowInput(whole.name, rows, row.bytes)
    return dataclasses.replace(step, files=files, inputs=tuple(ports), row_input=row_input)
