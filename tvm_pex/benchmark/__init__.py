"""A model in every way to run it, side by side: layer by layer, stock TVM, TFLite Micro, tvm_pex in several forms."""
