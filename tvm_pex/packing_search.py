"""Exact search for a lower peak. Not there yet: the offsets come back as they are."""

from __future__ import annotations

from tvm_pex.packing import Packing


def search_offsets(
    packing: Packing, offsets: list[int], bound: int, goal: int, effort: int
) -> tuple[list[int], int]:
    return offsets, bound
