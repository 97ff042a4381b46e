"""TVM's TFLite importer, with what today's converter writes and TVM 0.19 does not read.

TVM takes a subclass of its converter of operators; each method below replaces one conversion and says what was missing.
"""

from __future__ import annotations

from typing import Any

import tflite
from tvm.relay.frontend.tflite import OperatorConverter, get_scalar_from_constant, get_tensor_name

from tvm_pex._tvm import relay


class Importer(OperatorConverter):  # type: ignore[misc]
    """Relay calls for the operators of one subgraph."""

    def convert_conv(self, op: Any, conv_type: str) -> Any:
        """Convolutions of int16 whose biases are of int32."""
        self._widen_bias(op, 2)
        return super().convert_conv(op, conv_type)

    def convert_transpose_conv(self, op: Any) -> Any:
        """The same, transposed."""
        self._widen_bias(op, 3)
        return super().convert_transpose_conv(op)

    def _widen_bias(self, op: Any, position: int) -> None:
        """Makes an input of int32 one of int64, as sums of int16 are: TVM adds biases of their type alone."""
        (output,), inputs = self.get_output_tensors(op), self.get_input_tensors(op)
        if output.tensor.Type() != tflite.TensorType.INT16 or len(inputs) <= position:
            return
        bias = inputs[position]
        if bias.tensor_idx == -1 or bias.tensor.Type() != tflite.TensorType.INT32 or self.has_expr(bias.tensor_idx):
            return
        wide = relay.const(self.get_tensor_value(bias).astype("int64"), "int64")
        self.exp_tab.set_expr(get_tensor_name(self.subgraph, bias.tensor_idx), wide)

    def convert_fully_connected(self, op: Any) -> Any:
        """Dense layers whose weights have a scale for each output channel, TensorFlow's default since 2.16.

        Also those of int16 whose biases are of int32.
        """
        self._widen_bias(op, 2)
        data, weights, *bias = self.get_input_tensors(op)
        (output,) = self.get_output_tensors(op)
        if not data.qnn_params or not output.qnn_params or not weights.qnn_params["scale"].data.shape:
            return super().convert_fully_connected(op)
        dtype = self.get_tensor_type_str(output.tensor.Type())
        sums = "int64" if dtype == "int16" else "int32"
        units, depth = self.get_tensor_value(weights).shape
        options = tflite.FullyConnectedOptions()
        options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
        scale, zero_point = data.qnn_params["scale"], data.qnn_params["zero_point"]
        out = relay.qnn.op.dense(
            relay.reshape(self.get_tensor_expr(data), (-1, depth)),
            self.get_tensor_expr(weights),
            zero_point,
            weights.qnn_params["zero_point"],
            scale,
            weights.qnn_params["scale"],
            units,
            out_dtype=sums,
        )
        if bias and bias[0].tensor_idx != -1:
            out = relay.nn.bias_add(out, self.get_tensor_expr(bias[0]))
        out = relay.qnn.op.requantize(
            out,
            relay.const(get_scalar_from_constant(scale) * weights.qnn_params["scale"].data.numpy(), "float32"),
            relay.const(0, "int32"),
            output.qnn_params["scale"],
            output.qnn_params["zero_point"],
            axis=1,
            out_dtype=dtype,
        )
        out = self.convert_qnn_fused_activation_function(
            expr=out,
            fused_activation_fn=options.FusedActivationFunction(),
            scale=get_scalar_from_constant(output.qnn_params["scale"]),
            zero_point=get_scalar_from_constant(output.qnn_params["zero_point"]),
            dtype=dtype,
        )
        if options.KeepNumDims():
            out = relay.reshape(out, (*self.get_tensor_shape(data)[:-1], units))
        return out
