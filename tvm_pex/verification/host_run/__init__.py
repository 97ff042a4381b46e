"""Compile generated C with the host's compiler and run it in a guarded arena."""

from tvm_pex.verification.host_run.run import (
    FLAGS,
    HostError,
    HostProgram,
    HostRun,
    NoCompilerError,
    Pushes,
    compile_host,
    run_host,
)

__all__ = ["FLAGS", "HostError", "HostProgram", "HostRun", "NoCompilerError", "Pushes", "compile_host", "run_host"]
