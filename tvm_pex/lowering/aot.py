"""A Relay module to C sources: TVM's ahead-of-time build with the C interface, its workspace in a caller's arena.

The entry point of the result is ``tvmgen_default_run(inputs, outputs, workspace_pools)``; ``workspace_pools->arena``
points to at least ``workspace_bytes`` bytes, aligned to ``ARENA_ALIGNMENT``. Constants stay in read-only data.
With several memory pools the struct has a member of each one's name instead of ``arena``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tvm_pex._tvm import relay, tvm
from tvm_pex.pools import ARENA

STOCK_PLANNERS = ("greedy_by_size", "greedy_by_conflicts", "hill_climb")
ARENA_ALIGNMENT = 16
POOL = ARENA.name
MODULE = "default"
STEP_MODULE = f"{MODULE}_row"  # of what is run once for each row of a streamed input
SOURCES = "codegen/host/src"
HEADERS = "codegen/host/include"
RUNTIME_HEADERS = "runtime/include"

WINDOW_MODULE = f"{MODULE}_window"  # of what is run once for each window of a stream

_RUNTIME = Path(__file__).parent / "runtime" / "include"
_CONSTANT = re.compile(
    r"#ifdef __cplusplus\nextern \"C\" \{\n#endif\n"
    r"static const (?P<type>\w+) __attribute__\(\(section\(\"\.rodata\.tvm\"\)[^)]*\)\)\) "
    r"(?P<name>\w+)\[(?P<length>\d+)\] = \{"
    r"[^}]*\};\n#ifdef __cplusplus\n\}  // extern \"C\"\n#endif\n"
)
"""One constant as TVM declares it, with the C++ guards around it."""
_PLACES = re.compile(r"(?:^ *void\* \w+ = \(&\(\w+\[\d+\]\)\);\n)+", re.MULTILINE)
"""Consecutive lines that each point to a buffer in the arena."""
_OPERATOR = re.compile(r"^TVM_DLL int32_t (?=tvmgen_\w+_fused_)", re.MULTILINE)
_HANDED_OVER = re.compile(r"(?<=[(,])( ?)(\w*constant_\d+)(?=[,)])")
"""A constant as an argument of a call."""


class AotError(Exception):
    """The module cannot become C that runs in an arena alone; the message says why."""


@dataclass(frozen=True)
class CPort:
    """A model input or output: ``identifier`` is its member in ``struct tvmgen_default_inputs`` or ``_outputs``."""

    name: str
    identifier: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)


@dataclass(frozen=True)
class RowInput:
    """An input that comes by ``rows`` of ``row_bytes``; ``name`` is its port's."""

    name: str
    rows: int
    row_bytes: int


@dataclass(frozen=True)
class CBuild:
    """C text of a whole model.

    ``files`` maps a path inside the archive (below ``codegen/host/src``, ``codegen/host/include`` or
    ``runtime/include``) to its text. ``workspace_bytes`` is how far up the code uses the arena; a planner may have left
    room in it for model input and output. ``constant_bytes`` is what the code keeps in read-only data. ``inputs`` and
    ``outputs`` are in the order of the C structs, and so are the names in ``pools``, each with the bytes in use: none
    when the whole model needs no workspace and the entry point has no third parameter. ``row_input`` can come by rows,
    through ``tvmgen_default_stream.h``; it is no less one of the ``inputs``.
    """

    files: Mapping[str, str]
    workspace_bytes: int
    constant_bytes: int
    inputs: tuple[CPort, ...]
    outputs: tuple[CPort, ...]
    pools: Mapping[str, int]
    row_input: RowInput | None = None

    @property
    def inputs_as_they_come(self) -> tuple[CPort, ...]:
        """The inputs, last the one that comes by rows."""
        return tuple(
            sorted(self.inputs, key=lambda port: self.row_input is not None and port.name == self.row_input.name)
        )

    def write(self, folder: Path) -> None:
        """Write all files below ``folder``, which is made when missing."""
        for path, text in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


def build_c(
    mod: Any,
    *,
    target: str = "c",
    planner: str = "hill_climb",
    pools: Sequence[str] = (POOL,),
    module: str = MODULE,
    instruments: Sequence[Any] = (),
    disabled_pass: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> CBuild:
    """Build a Relay module (parameters bound) for ``target``, which is TVM's ``c`` with options.

    ``planner`` is one of ``STOCK_PLANNERS`` or the name of a registered function ``tir.usmp.algo.<planner>``.
    ``pools`` are the names of the memories among which it chooses; TVM's own planners take the first. The names of what
    is generated begin with ``tvmgen_<module>``.
    ``instruments`` see every pass run; ``config`` adds to the PassContext's. Raises ValueError for an unknown planner,
    AotError for code that would ask for memory at run time, and whatever TVM raises.
    """
    # TVM looks for the arena of its main function under the host target: it must be the operators' own.
    host = tvm.target.Target(target, host=target)
    settings = {"tir.usmp.enable": True, "tir.disable_vectorize": True, **_planner_config(planner), **(config or {})}
    with tvm.transform.PassContext(
        opt_level=3, config=settings, instruments=list(instruments), disabled_pass=list(disabled_pass)
    ):
        built = relay.build(
            _with_c_names(mod),
            target=host,
            executor=relay.backend.Executor("aot", {"unpacked-api": True, "interface-api": "c"}),
            runtime=relay.backend.Runtime("crt"),
            workspace_memory_pools=tvm.ir.memory_pools.WorkspaceMemoryPools(
                [tvm.ir.memory_pools.WorkspacePoolInfo(pool, [host]) for pool in pools]
            ),
            mod_name=module,
        )
    sources = [built.lib.get_source(), *(part.get_source() for part in built.lib.imported_modules)]
    _check_no_allocation(sources)
    meta = built.executor_codegen_metadata
    inputs, outputs = _ports(mod["main"], meta)
    sizes = {str(pool.pool_info.pool_name): int(pool.allocated_size) for _, pool in meta.pool_inputs.items()}
    members = {pool: sizes.get(pool, 0) for pool in pools} if sizes else {}
    files = {f"{SOURCES}/{module}_lib{index}.c": _clean(text) for index, text in enumerate(sources)}
    files[f"{HEADERS}/tvmgen_{module}.h"] = interface_header(module, members, inputs, outputs)
    for path in sorted(_RUNTIME.rglob("*.h")):
        files[f"{RUNTIME_HEADERS}/{path.relative_to(_RUNTIME).as_posix()}"] = path.read_text()
    return CBuild(files, sum(sizes.values()), _constant_bytes(sources), inputs, outputs, members)


def own_name(symbol: str) -> str:
    """The name of a generated function without the module's."""
    for module in (STEP_MODULE, WINDOW_MODULE, MODULE):
        symbol = symbol.removeprefix(f"tvmgen_{module}_")
    return symbol


def _with_c_names(mod: Any) -> Any:
    """``mod`` with ports whose names TVM makes C identifiers of: it replaces signs, but keeps a first digit."""
    main = mod["main"]
    renamed = {
        p: relay.var(_c_name(str(p.name_hint), "input"), p.type_annotation)
        for p in main.params
        if str(p.name_hint)[:1].isdigit()
    }
    parameters = [renamed.get(p, p) for p in main.params]
    main = relay.Function(parameters, relay.bind(main.body, renamed), main.ret_type, main.type_params, main.attrs)
    if main.attrs and "output_tensor_names" in main.attrs:
        names = [_c_name(str(name), "output") for name in main.attrs["output_tensor_names"]]
        main = main.with_attr("output_tensor_names", names)
    return tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): main}, mod.type_definitions)


def _c_name(name: str, kind: str) -> str:
    return f"{kind}_{name}" if name[:1].isdigit() else name


def _planner_config(planner: str) -> dict[str, str]:
    if tvm.get_global_func(f"tir.usmp.algo.{planner}", allow_missing=True) is None:
        raise ValueError(f"no USMP planner is registered as tir.usmp.algo.{planner}")
    return {"tir.usmp.algorithm" if planner in STOCK_PLANNERS else "tir.usmp.custom_algorithm": planner}


def _ports(main: Any, meta: Any) -> tuple[tuple[CPort, ...], tuple[CPort, ...]]:
    def port(name: str, identifier: str, kind: Any) -> CPort:
        return CPort(name, identifier, tuple(int(extent) for extent in kind.shape), str(kind.dtype))

    names = [str(parameter.name_hint) for parameter in main.params]
    inputs = tuple(map(port, names, (str(var.name) for var in meta.inputs), meta.input_tensor_types))
    kinds = zip(meta.outputs, meta.output_tensor_types, strict=True)
    outputs = tuple(port(str(name), str(name), kind) for name, kind in kinds)
    return inputs, outputs


def interface_header(module: str, pools: Mapping[str, int], inputs: Sequence[CPort], outputs: Sequence[CPort]) -> str:
    """TVM's header with a member for each of ``pools``, name to bytes: also for those that this code leaves empty."""

    def sizes(ports: Sequence[CPort]) -> dict[str, Any]:
        return {port.identifier: tvm.tir.IntImm("int32", port.bytes) for port in ports}

    allocated = tvm.ir.memory_pools.AllocatedPoolInfo
    create = tvm.get_global_func("runtime.InterfaceCCreate")
    header = create(
        module,
        [port.identifier for port in inputs],
        [port.identifier for port in outputs],
        [allocated(tvm.ir.memory_pools.WorkspacePoolInfo(name, []), size) for name, size in pools.items()],
        {},  # ports in pools of TVM's own choice
        [],  # devices
        sum(pools.values()),
        sizes(inputs),
        sizes(outputs),
    )
    return str(header.get_source())


def _check_no_allocation(sources: Sequence[str]) -> None:
    for text in sources:
        at = text.find("= TVMBackendAllocWorkspace(")
        if at >= 0:
            heads = re.findall(r"^TVM_DLL \w+ (\w+)\(.*\{$", text[:at], re.MULTILINE)
            where = heads[-1] if heads else "the generated code"
            raise AotError(f"{where} asks for memory at run time, outside the arena")


def _constant_bytes(sources: Sequence[str]) -> int:
    found = (match for text in sources for match in _CONSTANT.finditer(text))
    return sum(int(match["length"]) * np.dtype(match["type"].removesuffix("_t")).itemsize for match in found)


def _clean(source: str) -> str:
    """The same text every time, in standard C.

    TVM declares constants, and pointers to buffers in the arena, in the order of a hash table of pointers; here they
    are in the order of their names. It hands constants to parameters that are not const: a cast says that this is
    meant. Its entry source ends in a stray semicolon, which a pedantic compiler refuses. Functions of operators, which
    only its main function calls, are static here: the compiler then knows the constants that they get, and main needs
    no stack to hand them over.
    """
    constants = sorted(_CONSTANT.finditer(source), key=lambda match: (len(match["name"]), match["name"]))
    in_order = iter(constants)
    source = _CONSTANT.sub(lambda _: next(in_order)[0], source)
    source = _OPERATOR.sub(r"static __attribute__((noinline)) int32_t ", source)
    source = _HANDED_OVER.sub(r"\1(void*)\2", source)
    return _PLACES.sub(lambda lines: "".join(sorted(lines[0].splitlines(keepends=True))), source).removesuffix(";")
