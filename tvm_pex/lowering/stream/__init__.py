"""The C interfaces of networks whose input comes by rows, around TVM's C of one step of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from string import Template

from tvm_pex.lowering.aot import HEADERS, MODULE, SOURCES, CBuild, CPort, RowInput, interface_header

_HERE = Path(__file__).parent
_CONTINUOUS_HEADER, _CONTINUOUS_SOURCE = f"tvmgen_{MODULE}_continuous.h", f"{MODULE}_continuous.c"
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


def with_continuous_interface(row: CBuild, window: CBuild, numbers: Mapping[str, int]) -> CBuild:
    """One program of two: ``row`` takes a row and its number and may give one, ``window`` takes a window of those.

    ``numbers`` are those of tvmgen_default_continuous.h. The ports of the result are a row, and the window's outputs.
    """
    words = {
        **numbers,
        "row_bytes": row.inputs[0].bytes,
        "row_input": row.inputs[0].identifier,
        "row_number": row.inputs[1].identifier,
        "row_output": row.outputs[0].identifier,
        "row_has_pools": int(bool(row.pools)),
        "window_input": window.inputs[0].identifier,
        "window_has_pools": int(bool(window.pools)),
        "window_row_bytes": row.outputs[0].bytes,
    }
    files = {
        **row.files,
        **window.files,
        f"{HEADERS}/{_CONTINUOUS_HEADER}": Template((_HERE / f"{_CONTINUOUS_HEADER}.in").read_text()).substitute(words),
        f"{SOURCES}/{_CONTINUOUS_SOURCE}": (_HERE / _CONTINUOUS_SOURCE).read_text(),
    }
    return CBuild(
        files,
        row.workspace_bytes + window.workspace_bytes,
        row.constant_bytes + window.constant_bytes,
        row.inputs[:1],
        window.outputs,
        {},
    )
