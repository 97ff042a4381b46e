"""Damage for .tflite files: random bytes, lengths and pieces, and other values in the places where readers look.

The places are found by watching flatbuffers read a whole file, so every one of them matters to somebody: extents,
enums, indices of tensors and buffers, scales, lengths of vectors, and the offsets by which tables point to each other.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import flatbuffers.encode

Place = tuple[int, str]
"""Where a number lies in a file, and its format for ``struct``."""

_LIMITS = {"b": 7, "h": 15, "i": 31, "q": 63, "B": 8, "H": 16, "I": 32, "Q": 64}
_FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
_MOST_ELEMENTS = 64  # of a vector that count as places: the rest is weights


def places_read(read: Callable[[], Any]) -> list[Place]:
    """The places that ``read`` reads, in the order of the file."""
    with _watched() as places:
        read()
    return sorted(set(places))


@contextmanager
def _watched() -> Iterator[list[Place]]:
    places: list[Place] = []
    get, get_vector = flatbuffers.encode.Get, flatbuffers.encode.GetVectorAsNumpy

    def watched_get(packer: struct.Struct, data: bytes, at: int) -> Any:
        places.append((at, packer.format[-1]))
        return get(packer, data, at)

    def watched_vector(kind: Any, data: bytes, count: int, at: int) -> Any:
        elements = range(at, at + min(count, _MOST_ELEMENTS) * kind.itemsize, kind.itemsize)
        places.extend((place, kind.char) for place in elements)
        return get_vector(kind, data, count, at)

    flatbuffers.encode.Get, flatbuffers.encode.GetVectorAsNumpy = watched_get, watched_vector
    try:
        yield places
    finally:
        flatbuffers.encode.Get, flatbuffers.encode.GetVectorAsNumpy = get, get_vector


def mutated(data: bytes, places: Sequence[Place], rng: random.Random) -> bytes:
    """``data`` with one to three damages; ``places`` are those of the whole file."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        damage = rng.choices((_other_value, _exchange, _flip, _cut, _repeat, _blank), (12, 2, 2, 1, 1, 1))[0]
        damage(damaged, places, rng)
    return bytes(damaged)


def _other_value(data: bytearray, places: Sequence[Place], rng: random.Random) -> None:
    at, kind = rng.choice(places)
    size = struct.calcsize(kind)
    if at + size > len(data):
        return
    (value,) = struct.unpack_from(f"<{kind}", data, at)
    if kind in "fd":
        other = rng.choice((*_FLOATS, value * 2, -value, rng.gauss(0, 1)))
        struct.pack_into(f"<{kind}", data, at, other)
        return
    bits = _LIMITS.get(kind, 1)
    near = (value + 1, value - 1, value * 2, value ^ (1 << rng.randrange(bits)), -value)
    known = (0, 1, -1, 2, (1 << bits) - 1, -(1 << bits), 1 << rng.randrange(bits), rng.randrange(200))
    other = int(rng.choice((*near, *known))) & ((1 << 8 * size) - 1)
    data[at : at + size] = other.to_bytes(size, "little")


def _exchange(data: bytearray, places: Sequence[Place], rng: random.Random) -> None:
    """Two numbers of one size change places."""
    at, kind = rng.choice(places)
    size = struct.calcsize(kind)
    other = rng.choice([place for place, k in places if struct.calcsize(k) == size])
    if max(at, other) + size <= len(data):
        data[at : at + size], data[other : other + size] = data[other : other + size], data[at : at + size]


def _flip(data: bytearray, places: Sequence[Place], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, places: Sequence[Place], rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _repeat(data: bytearray, places: Sequence[Place], rng: random.Random) -> None:
    """A piece comes again, elsewhere: written over what was there, or put in between."""
    start, to = (rng.randrange(len(data) + 1) for _ in range(2))
    piece = data[start : start + rng.choice((4, 16, 64, len(data)))]
    end = to if rng.random() < 0.5 else to + len(piece)
    data[to:end] = piece


def _blank(data: bytearray, places: Sequence[Place], rng: random.Random) -> None:
    start, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 16, 256))
    blank = bytes(data[start : start + length])
    data[start : start + length] = bytes(len(blank)) if rng.random() < 0.5 else b"\xff" * len(blank)
