"""Makes a prelu whose slopes differ between channels alone one that says so. Relay in, Relay out, the same bits.

Before, as TVM's TFLite importer gives every prelu of an NHWC tensor::

    %1 = reshape(%0, newshape=[-1]); %2 = broadcast_to(slopes, shape=[1, h, w, c]); %3 = reshape(%2, newshape=[-1]);
    reshape(nn.prelu(%1, %3, axis=0), newshape=[1, h, w, c])

After::

    nn.prelu(%0, slopes of c channels, axis=3)
"""

from __future__ import annotations

import numpy as np
from tvm import relay
from tvm.relay.dataflow_pattern import DFPatternCallback, is_constant, is_op, rewrite, wildcard

from tvm_pex._tvm import tvm
from tvm_pex.frontend.values import static_shape


def slopes_by_channel(mod: tvm.IRModule) -> tvm.IRModule:
    """``mod``, type-checked, with ``main`` rewritten; the same object where there is nothing to rewrite."""
    main, callback = mod["main"], _Slopes()
    body = rewrite(callback, main.body)
    if not callback.found:
        return mod
    main = relay.Function(main.params, body, main.ret_type, main.type_params, main.attrs)
    mod = tvm.IRModule({**dict(mod.functions.items()), mod.get_global_var("main"): main}, mod.type_definitions)
    return relay.transform.InferType()(mod)


class _Slopes(DFPatternCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(rewrite_once=True)
        self.found = False
        self.data, self.slopes = wildcard(), is_constant()
        flat = is_op("reshape")(is_op("broadcast_to")(self.slopes))
        self.pattern = is_op("reshape")(is_op("nn.prelu")(is_op("reshape")(self.data), flat))

    def callback(self, pre: relay.Expr, post: relay.Expr, node_map: tvm.ir.container.Map) -> relay.Expr:
        (before,), (slopes,) = node_map[self.data], node_map[self.slopes]
        shape, values = static_shape(before), np.asarray(slopes.data.numpy())
        flat = post.args[0]
        if static_shape(pre) != shape or not values.size == values.shape[-1] == shape[-1]:
            return post
        self.found = True
        return relay.nn.prelu(flat.args[0].args[0], relay.const(values.reshape(-1)), axis=len(shape) - 1)
