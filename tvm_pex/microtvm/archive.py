"""The .tar of ``tvm-pex compile``: TVM's Model Library Format 7, the same bytes every time.

``codegen/host/{src,include}`` and ``runtime/include`` are all that a build needs; ``src/default.relay`` is what it was
made from, ``parameters/default.params`` an empty dictionary, because the C holds the constants.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from tvm_pex._tvm import tvm
from tvm_pex.compiler import CompiledModel
from tvm_pex.files import write_whole
from tvm_pex.frontend.tflite_model import Model, Port
from tvm_pex.lowering.aot import ARENA_ALIGNMENT, HEADERS, MODULE, CPort, RowInput
from tvm_pex.pools import Place

FORMAT_VERSION = 7
_ARENA_HEADER = Path(__file__).with_name("arena.h.in")
_CPU = 1  # kDLCPU
_EXPORTED = "1970-01-01 00:00:00Z"  # clients expect a time; the present one would make each archive another


def write_archive(model: Model, compiled: CompiledModel, path: Path) -> None:
    """Write the archive to ``path`` as a whole or not at all. Raises OSError."""
    write_whole(path, archive(model, compiled))


def archive(model: Model, compiled: CompiledModel) -> bytes:
    """The archive's bytes: sources, headers, runtime headers, the Relay text and ``metadata.json``."""
    texts = {
        **compiled.build.files,
        f"{HEADERS}/tvmgen_{MODULE}_arena.h": arena_header(compiled),
        f"src/{MODULE}.relay": compiled.relay + "\n",
        "metadata.json": json.dumps(metadata(model, compiled), indent=2) + "\n",
    }
    files = {name: text.encode() for name, text in texts.items()}
    files[f"parameters/{MODULE}.params"] = bytes(tvm.runtime.save_param_dict({}))
    return tar_of(files)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same files, every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(f"./{name}")  # mtime, owner and group stay 0
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def metadata(model: Model, compiled: CompiledModel) -> dict[str, Any]:
    """Model Library Format's keys, and under ``arena`` where every buffer lies. Sizes and offsets are in bytes."""
    build = compiled.build
    inputs = _ports(build.inputs, model.inputs, compiled.input_places)
    outputs = _ports(build.outputs, model.outputs, compiled.output_places)
    memory = {
        "device": _CPU,
        "workspace_size_bytes": compiled.arena_bytes,
        "constants_size_bytes": build.constant_bytes,
        "io_size_bytes": sum(_outside(port, build.row_input) for port in [*inputs, *outputs]),
        "inputs": {port["identifier"]: {"dtype": port["dtype"], "size": port["size"]} for port in inputs},
        "outputs": {port["identifier"]: {"dtype": port["dtype"], "size": port["size"]} for port in outputs},
    }
    arena = {
        "bytes": compiled.arena_bytes,
        "alignment": ARENA_ALIGNMENT,
        "pools": compiled.report["pools"],
        "inputs": inputs,
        "outputs": outputs,
        "buffers": compiled.report["buffers"],
    } | ({"row_input": asdict(build.row_input)} if build.row_input else {})
    module = {
        "model_name": model.name,
        "export_datetime": _EXPORTED,
        "executors": ["aot"],
        "style": "full-model",
        "target": ["c"],
        "memory": {"functions": {"main": [memory], "operator_functions": []}},
        "arena": arena,
    }
    return {"version": FORMAT_VERSION, "modules": {MODULE: module}}


def _outside(port: Mapping[str, Any], row_input: RowInput | None) -> int:
    """Bytes of a port that are to be in memory outside the arena: of an input that comes by rows, one."""
    if port["offset"] is not None:
        return 0
    return row_input.row_bytes if row_input and row_input.name == port["name"] else int(port["size"])


def arena_header(compiled: CompiledModel) -> str:
    """Macros for each pool's size, and for each input and output its place and what its integers stand for."""
    sizes = {f"{pool.name.upper()}_BYTES": pool.peak_bytes for pool in compiled.pools}
    places = {
        f"{port.identifier.upper()}_{key}": value
        for ports, known in (
            (compiled.build.inputs, compiled.input_places),
            (compiled.build.outputs, compiled.output_places),
        )
        for port in ports
        if port.name in known
        for key, value in (("POOL", known[port.name].pool), ("OFFSET", known[port.name].offset))
    }
    prefix = f"#define TVMGEN_{MODULE.upper()}_"
    encodings = {
        f"{port.identifier.upper()}_{key}": text
        for port, origin in zip(
            (*compiled.build.inputs, *compiled.build.outputs),
            (*compiled.model.inputs, *compiled.model.outputs),
            strict=True,
        )
        for key, text in _encoding(origin).items()
    }
    macros = sizes | {"ARENA_ALIGNMENT": ARENA_ALIGNMENT} | places | encodings
    return Template(_ARENA_HEADER.read_text()).substitute(
        definitions="\n".join(f"{prefix}{name} {value}" for name, value in macros.items()),
        pools=", ".join(pool.name for pool in compiled.pools),
    )


def _encoding(port: Port) -> dict[str, str]:
    if port.scale is None or port.zero_point is None:
        return {}
    zero = f"({port.zero_point})" if port.zero_point < 0 else str(port.zero_point)
    return {"SCALE": f"{np.float32(port.scale)!s}f", "ZERO_POINT": zero}


def _ports(ports: Sequence[CPort], known: Sequence[Port], places: Mapping[str, Place]) -> list[dict[str, Any]]:
    return [
        {
            "name": port.name,
            "identifier": port.identifier,
            "shape": list(port.shape),
            "dtype": port.dtype,
            "size": port.bytes,
            "scale": origin.scale,
            "zero_point": origin.zero_point,
            "pool": places[port.name].pool if port.name in places else None,
            "offset": places[port.name].offset if port.name in places else None,
        }
        for port, origin in zip(ports, known, strict=True)
    ]
