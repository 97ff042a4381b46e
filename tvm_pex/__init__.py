"""Partial execution for Apache TVM: networks run slice by slice, in a fraction of the memory, with the same bits.

``from tvm_pex import PexPartition`` imports TVM. The pure layers (graph, schedule, search, memory_planner) do not, so
this module imports nothing before it is asked to.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm_pex.relay_pass import PexPartition

__all__ = ["PexPartition", "__version__"]

__version__ = "0.1.0"

if "tvm.relay" in sys.modules:  # somebody works with Relay already: relay.transform.Sequential shall exist from now on
    import tvm_pex._tvm  # noqa: F401


def __getattr__(name: str) -> Any:
    if name != "PexPartition":
        raise AttributeError(f"module 'tvm_pex' has no attribute {name!r}")
    import tvm_pex._tvm  # noqa: F401  # relay.transform.Sequential exists from here on
    from tvm_pex.relay_pass import PexPartition

    return PexPartition
