"""Is it the same function, and how much memory does stock TVM need? Compiles and runs C on the host."""
