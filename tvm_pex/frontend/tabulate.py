"""What a function of one 8-bit value gives for each of the 256, as the C computes it that stock TVM makes of it.

TVM lowers the function for its target c, mathematical functions become those of the C library, and numbers get the
seven digits that TVM prints of them. The result runs by LLVM, so that no C compiler is needed.
"""

from __future__ import annotations

import functools

import numpy as np
from tvm import relay, tir
from tvm.relay.backend import te_compiler

from tvm_pex._tvm import tvm
from tvm_pex.frontend.values import Array, static_shape
from tvm_pex.graph import VALUES


@functools.lru_cache(maxsize=4096)
def tabulated(function: str) -> Array | None:
    """(channels, 256) results of a Relay function in ``tvm.ir.save_json``'s form; entry k is for the byte k.

    It takes a tensor of shape (256, ..., channels) and gives one. None if TVM runs more than one loop for it.
    """
    func = tvm.ir.load_json(function)
    target = tvm.target.Target("c")
    with tvm.transform.PassContext(opt_level=3, config={"tir.disable_vectorize": True}):
        mod, _ = relay.optimize(tvm.IRModule.from_expr(func), target)
        call = mod["main"].body
        fused = isinstance(call, relay.Call) and isinstance(call.op, relay.Function)
        if not (fused and all(isinstance(argument, relay.Var | relay.Constant) for argument in call.args)):
            return None
        lowered = _as_in_c(te_compiler.get().lower(call.op, target).funcs, target)
        program = tvm.build(lowered, target="llvm")
    shape, dtype = static_shape(func.params[0]), str(func.params[0].checked_type.dtype)
    values = np.arange(VALUES, dtype=np.uint8).view(dtype).reshape(-1, *[1] * (len(shape) - 1))
    values = tvm.nd.array(np.ascontiguousarray(np.broadcast_to(values, shape)))
    results = tvm.nd.empty(shape, str(mod["main"].ret_type.dtype))
    program(*(values if isinstance(argument, relay.Var) else argument.data for argument in call.args), results)
    table = np.ascontiguousarray(results.numpy().reshape(VALUES, -1).T)
    table.setflags(write=False)
    return table


def _as_in_c(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    mod = tir.transform.Apply(lambda func: func.with_attr("target", target))(mod)
    mod = tir.transform.LowerIntrin()(mod)  # calls of expf and its like, where LLVM has series of its own
    return tir.transform.Apply(lambda func: func.with_body(_printed(func.body)).without_attr("target"))(mod)


def _printed(body: tir.Stmt) -> tir.Stmt:
    def digits(number: tir.FloatImm) -> tir.FloatImm:
        return tir.FloatImm(number.dtype, float(f"{number.value:.6e}"))

    return tir.stmt_functor.ir_transform(body, None, digits, ["FloatImm"])
