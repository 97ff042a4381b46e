"""Reads chains of element-wise calls from one 8-bit tensor to another as Lookups, whatever they compute.

1. A chain is everything between the two tensors: calls that give each element from the elements at the same place, and
   constants, of one value or of one for each channel. Views count where no constant differs between channels.
2. It reaches back as far as one 8-bit tensor alone decides the result, and nothing else reads it.
3. Its table is what TVM computes for all 256 values: one for all channels, or one for each of at most ``MOST_TABLES``.
4. As TFLite rounds, each operator of the file between two 8-bit tensors rounds by itself: then a chain is one of these
   behind the other, each with one source, and its table is theirs one after the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from tvm import relay

from tvm_pex._tvm import tvm
from tvm_pex.frontend.claim import NAMELESS, Claim, Readers
from tvm_pex.frontend.shifts import define_shifts
from tvm_pex.frontend.tabulate import tabulated
from tvm_pex.frontend.tflite_tables import tflite_table
from tvm_pex.frontend.values import Array, graph_shape, integer_dtype, is_byte, is_view, op_name, static_shape
from tvm_pex.graph import VALUES, Lookup

MOST_TABLES = 64
"""Tables of one operator: 16 KiB of flash."""

_MOVES = ("copy", "broadcast_to")
"""Calls that TVM counts as element-wise, but that compute nothing."""

_SAFE = ("clip", "nn.relu", "maximum", "minimum", "cast")
_NARROW = ("int8", "uint8", "int16", "uint16")
"""Types in which others overflow: C does not wrap before the value is stored, and where that is TVM decides."""


@dataclass(frozen=True)
class _Chain:
    """All calls from ``sources``, which are no part of it, to the result, which is the first, and their constants."""

    sources: tuple[relay.Expr, ...]
    calls: tuple[relay.Call, ...]
    constants: tuple[relay.Constant, ...]

    @property
    def source(self) -> relay.Expr:
        (source,) = self.sources
        return source

    @property
    def end(self) -> relay.Call:
        return self.calls[0]

    def behind(self, *others: _Chain) -> _Chain:
        """With those in front of it that give its sources from theirs, which are the same."""
        calls, constants = self.calls, self.constants
        for other in others:
            calls, constants = calls + other.calls, constants + other.constants
        return _Chain(others[0].sources, calls, constants)


def read_lookup(call: relay.Call, readers: Readers) -> Claim | None:
    """The longest chain that ends with ``call`` as one Lookup; None if there is none."""
    chain = _chain(call, readers)
    parts = [chain] if chain else []
    while chain and readers[chain.source] == 1:
        before = _chain(chain.source, readers)
        longer = before and chain.behind(before)
        if before is None or longer is None or _tables(longer) is None:
            break
        chain = longer
        parts.append(before)
    if chain is None:
        return None
    table, undefined = _table_of(parts) if readers.rounding == "tflite" else _table(chain)
    if table is None:
        return None
    shape = graph_shape(chain.source)  # also where the result is seen under another one
    operator = Lookup(NAMELESS, (), (shape,), NAMELESS, NAMELESS)
    return Claim("lookup", operator, (chain.source,), shape, integer_dtype(call), {"table": table}, undefined)


def _chain(end: relay.Expr, readers: Readers) -> _Chain | None:
    """The shortest from one source to ``end``: where there are several, from the nearest that decides all of them."""
    chain = _last_part(end)
    if chain and len(chain.sources) > 1:
        if readers.rounding == "tflite":
            return None
        functions = [_functions_to(source) for source in chain.sources]
        common = next((source for source in functions[0] if all(source in others for others in functions)), None)
        chain = chain.behind(*(others[common] for others in functions)) if common else None
    return None if chain is None or not chain.sources or _tables(chain) is None else chain


def _functions_to(end: relay.Expr) -> dict[relay.Expr, _Chain]:
    """Chains to ``end`` by their source: none, and as far back as there is a single one."""
    chain = _Chain((end,), (), ())
    found = {end: chain}
    while (part := _last_part(chain.source)) and len(part.sources) == 1:
        chain = chain.behind(part)
        found[chain.source] = chain
    return found


def _last_part(end: relay.Expr) -> _Chain | None:
    """From the nearest 8-bit tensors to ``end``."""
    sources, calls, constants = dict[relay.Expr, None](), dict[relay.Call, None](), list[relay.Constant]()
    found = [end]
    while found:
        expr = found.pop()
        if isinstance(expr, relay.Constant):
            constants.append(expr)
        elif expr is not end and is_byte(expr):
            sources[expr] = None
        elif not (_by_element(expr) or is_view(expr)):
            return None
        elif expr not in calls:
            calls[expr] = None
            found.extend(expr.args)
    return _Chain(tuple(sources), tuple(calls), tuple(constants))


def _by_element(expr: relay.Expr) -> bool:
    name = op_name(expr)
    if not name:
        return False
    if not name.startswith("qnn.") and name not in _SAFE and getattr(expr.checked_type, "dtype", "") in _NARROW:
        return False
    pattern = expr.op.get_attr("TOpPattern") if name not in _MOVES else None
    return pattern is not None and pattern <= relay.op.OpPattern.BROADCAST


def _tables(chain: _Chain) -> int | None:
    """How many tables the chain needs, 1 or one for each channel; None if it is none, or they are too many."""
    shape = static_shape(chain.source)
    shapes = [static_shape(call) for call in chain.calls]
    lists = [static_shape(constant) for constant in chain.constants if math.prod(static_shape(constant)) > 1]
    if not lists:
        return 1 if all(math.prod(other) == math.prod(shape) for other in shapes) else None
    alike = all(other == shape for other in shapes)
    by_channel = all(other[-1] == math.prod(other) == shape[-1] for other in lists) and shape[-1] <= MOST_TABLES
    last = all(_axis(call) in (-1, len(shape) - 1) for call in chain.calls)
    return shape[-1] if alike and by_channel and last and graph_shape(chain.source)[2] == shape[-1] else None


def _axis(call: relay.Call) -> int:
    """Along which constants lie that have no shape of their own."""
    return int(getattr(call.attrs, "axis", -1))


def _table_of(parts: list[_Chain]) -> tuple[Array | None, int]:
    """Of chains one behind the other, the last one first, each by TFLite's formula where there is one."""
    table, undefined = None, 0
    for part in reversed(parts):
        found, more = tflite_table(part.end, part.source), 0
        if found is None:
            found, more = _table(part)
        if found is None:
            return None, 0
        undefined += more
        table = found if table is None else _behind(found, table)
    return table, undefined


def _behind(table: Array, before: Array) -> Array:
    """The entries of ``table`` at those of another one."""
    channels = max(len(table), len(before))
    table, before = (np.broadcast_to(each, (channels, VALUES)) for each in (table, before))
    return np.ascontiguousarray(np.take_along_axis(table, before.view(np.uint8).astype(np.int64), axis=1))


def _table(chain: _Chain) -> tuple[Array | None, int]:
    """By TVM, and how many channels it requantises by undefined shifts; None if it runs several loops."""
    tables = _tables(chain)
    assert tables
    rank = max(len(static_shape(expr)) for expr in (chain.source, *chain.calls))
    value = relay.var("x", shape=(VALUES, *[1] * (rank - 2), tables), dtype=integer_dtype(chain.source))
    function = relay.Function([value], _Applied(chain.source, value).visit(chain.end))
    typed = relay.transform.InferType()(tvm.IRModule.from_expr(function))["main"]
    defined, undefined = define_shifts(typed)
    return tabulated(tvm.ir.save_json(defined)), undefined


class _Applied(relay.ExprMutator):  # type: ignore[misc]
    """A chain with another tensor, of any shape, in the place of its source."""

    def __init__(self, source: relay.Expr, value: relay.Expr) -> None:
        super().__init__()
        self.memo_map[source] = value

    def visit_call(self, call: relay.Call) -> relay.Expr:
        return self.visit(call.args[0]) if is_view(call) else super().visit_call(call)
