"""Takes transposes away that a mean makes needless. Relay in, Relay out, the same bits.

Before, as TVM's TFLite importer gives a global mean over rows and columns of an NHWC tensor::

    %1 = transpose(%0, axes=[0, 3, 1, 2]); %2 = cast(%1, int32); %3 = mean(%2, axis=[3]); %4 = qnn.requantize(%3, ...);
    %5 = cast(%4, int32); mean(%5, axis=[2])

After::

    %2 = cast(%0, int32); %3 = mean(%2, axis=[2]); %4 = qnn.requantize(%3, ...);
    %5 = cast(%4, int32); mean(%5, axis=[1])

Rules:

1. A cast or a requantise with one scale of a transposed tensor is that of the tensor itself, transposed.
2. A mean of a transposed tensor is one over the axes where the tensor itself has what it sums, transposed.
3. A chain of these that starts at a transpose is rewritten where the transpose left behind it moves axes of length 1
   only, which is a reshape. Nothing but the next of the chain may read what lies between.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tvm_pex._tvm import relay, tvm
from tvm_pex.frontend.values import Unsupported, is_view, op_name, static_shape

_Axes = tuple[int, ...]
_FOLLOWED = ("mean", "cast", "qnn.requantize")


def drop_transposes(mod: Any) -> Any:
    """``mod``, type-checked, with ``main`` rewritten; the same object where there is nothing to rewrite."""
    main = mod["main"]
    rewriter = _Rewriter(main)
    relay.analysis.post_order_visit(main.body, rewriter.visit)  # operands first: else the recursion is a network deep
    body = rewriter.visit(main.body)
    if not rewriter.dropped:
        return mod
    main = relay.Function(main.params, body, main.ret_type, main.type_params, main.attrs)
    mod = tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): main}, mod.type_definitions)
    return relay.transform.InferType()(mod)


class _Rewriter(relay.ExprMutator):  # type: ignore[misc]
    def __init__(self, main: Any) -> None:
        super().__init__()
        self.readers = _readers(main)
        self.dropped = 0

    def visit_call(self, call: Any) -> Any:
        if op_name(call) in _FOLLOWED:
            try:
                value, axes, moved = self.plain(call)
            except Unsupported:
                return super().visit_call(call)
            if moved and _keeps_order(static_shape(call), axes):
                self.dropped += 1
                return relay.reshape(value, static_shape(call)) if axes != tuple(sorted(axes)) else value
        return super().visit_call(call)

    def plain(self, expr: Any) -> tuple[Any, _Axes, bool]:
        """(value, axes, moved): ``expr`` is ``transpose(value, axes)``; ``moved`` if a transpose was looked through.

        Without ``moved`` the value is ``expr`` as it was.
        """
        rank = len(static_shape(expr))
        name = op_name(expr)
        if name == "transpose" and expr.attrs.axes and not is_view(expr):
            value, axes, moved = self.below(expr)
            value = value if moved else self.visit(value)
            return value, tuple(axes[int(axis) % rank] for axis in expr.attrs.axes), True
        if name == "cast" or (name == "qnn.requantize" and _one_scale(expr)):
            value, axes, moved = self.below(expr)
            if moved:
                others = [self.visit(argument) for argument in expr.args[1:]]
                return relay.Call(expr.op, [value, *others], expr.attrs), axes, True
        if name == "mean" and expr.attrs.axis and not expr.attrs.exclude:
            value, axes, moved = self.below(expr)
            if moved:
                summed = sorted(axes[int(axis) % len(axes)] for axis in expr.attrs.axis)
                keeps = bool(expr.attrs.keepdims)
                left = [axis for axis in axes if keeps or axis not in summed]
                return relay.mean(value, summed, keeps), tuple(sorted(left).index(axis) for axis in left), True
        return expr, tuple(range(rank)), False

    def below(self, expr: Any) -> tuple[Any, _Axes, bool]:
        data = expr.args[0]
        if self.readers[data] == 1:
            return self.plain(data)
        return data, tuple(range(len(static_shape(data)))), False


def _one_scale(call: Any) -> bool:
    return all(not argument.checked_type.shape for argument in call.args[1:])


def _keeps_order(shape: tuple[int, ...], axes: _Axes) -> bool:
    long = [axis for axis, length in zip(axes, shape, strict=True) if length > 1]
    return long == sorted(long)


def _readers(main: Any) -> Counter[Any]:
    readers: Counter[Any] = Counter([main.body])

    def visit(expr: Any) -> None:
        if isinstance(expr, relay.Call):
            readers.update(expr.args)
        elif isinstance(expr, relay.Tuple):
            readers.update(expr.fields)

    relay.analysis.post_order_visit(main.body, visit)
    return readers
