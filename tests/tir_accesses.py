"""Counts what a lowered region loads and stores: its TIR becomes a Python program that only counts.

Loops, conditions and Selects are executed; values are not computed, as none of them decides what is accessed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tvm import tir

_OPERATORS = {
    tir.Add: "({a} + {b})", tir.Sub: "({a} - {b})", tir.Mul: "({a} * {b})",
    tir.Min: "min({a}, {b})", tir.Max: "max({a}, {b})",
    tir.LT: "({a} < {b})", tir.LE: "({a} <= {b})", tir.GT: "({a} > {b})", tir.GE: "({a} >= {b})",
    tir.EQ: "({a} == {b})", tir.NE: "({a} != {b})", tir.And: "({a} and {b})", tir.Or: "({a} or {b})",
    tir.Div: "int({a} / {b})", tir.Mod: "math.fmod({a}, {b})",
}  # fmt: skip


def count_accesses(body: Any) -> Counter[str]:
    """Loads and stores in one run of ``body``, by name of the buffer."""
    program = _Program()
    program.statement(body, "")
    count: Counter[str] = Counter()
    exec("import math\n" + "\n".join(program.lines), {"count": count})
    return count


class _Program:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[Any, str] = {}

    def statement(self, s: Any, indent: str) -> None:
        if isinstance(s, tir.SeqStmt):
            for part in s.seq:
                self.statement(part, indent)
        elif isinstance(s, tir.For):
            variable = self.names[s.loop_var] = f"v{len(self.names)}"
            self.lines.append(f"{indent}for {variable} in range(int({self.value(s.extent)})):")
            self.statement(s.body, indent + " ")
        elif isinstance(s, tir.IfThenElse):
            self.branches(s.condition, lambda i: self.statement(s.then_case, i),
                          lambda i: s.else_case and self.statement(s.else_case, i), indent)  # fmt: skip
        elif isinstance(s, tir.BufferStore):
            self.loads(s.value, indent)
            self.access(s.buffer, indent)
        elif isinstance(s, tir.Allocate | tir.AttrStmt | tir.LetStmt):
            self.statement(s.body, indent)
        else:
            assert isinstance(s, tir.Evaluate), type(s)
            self.lines.append(f"{indent}pass")

    def branches(self, condition: Any, then: Any, otherwise: Any, indent: str) -> None:
        self.lines.append(f"{indent}if {self.value(condition)}:\n{indent} pass")
        then(indent + " ")
        self.lines.append(f"{indent}else:\n{indent} pass")
        otherwise(indent + " ")

    def access(self, buffer: Any, indent: str) -> None:
        self.lines.append(f"{indent}count[{str(buffer.name)!r}] += 1")

    def loads(self, e: Any, indent: str) -> None:
        if isinstance(e, tir.BufferLoad):
            for index in e.indices:
                self.loads(index, indent)
            self.access(e.buffer, indent)
        elif isinstance(e, tir.Select):
            self.branches(e.condition, lambda i: self.loads(e.true_value, i),
                          lambda i: self.loads(e.false_value, i), indent)  # fmt: skip
        elif isinstance(e, tir.Cast):
            self.loads(e.value, indent)
        elif isinstance(e, tir.Call):
            for argument in e.args:
                self.loads(argument, indent)
        elif hasattr(e, "b"):
            self.loads(e.a, indent)
            self.loads(e.b, indent)

    def value(self, e: Any) -> str:
        if isinstance(e, tir.IntImm):
            return str(int(e.value))
        if isinstance(e, tir.Var):
            return self.names[e]
        if isinstance(e, tir.Not):
            return f"(not {self.value(e.a)})"
        if isinstance(e, tir.Cast):
            return self.value(e.value)
        if isinstance(e, tir.Select):
            return f"({self.value(e.true_value)} if {self.value(e.condition)} else {self.value(e.false_value)})"
        return _OPERATORS[type(e)].format(a=self.value(e.a), b=self.value(e.b))
