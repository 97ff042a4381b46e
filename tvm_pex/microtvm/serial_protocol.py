"""The host's side of the serial protocol; ``firmware/protocol.h`` says what a frame is and what a device promises.

A session survives bytes that the line corrupts, loses or doubles: what is not answered in time is asked again. What
cannot be repaired ends in a LineError or a DeviceError. Inputs and outputs also carry a CRC over all of their bytes.
"""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

PROTOCOL_VERSION = 1
PART_BYTES = 240
_REPLY = 0x80
_END, _ESCAPE, _ESCAPED_END, _ESCAPED_ESCAPE = b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"
_HEADER = struct.Struct("<BHB")
_CRC = struct.Struct("<I")
_SEQUENCES = 1 << 16


class Kind(IntEnum):
    RESET = 1
    INFO = 2
    WRITE = 3
    RUN = 4
    READ = 5


class Status(IntEnum):
    """What a device says to a request."""

    DONE = 0
    UNKNOWN = 1
    OUT_OF_SEQUENCE = 2
    OUT_OF_PLACE = 3
    NOT_READY = 4
    INPUT_DIFFERS = 5
    MODEL_FAILED = 6
    STACK_OVERFLOW = 7


_REASONS = {
    Status.UNKNOWN: "it does not know this request: its firmware is another version's",
    Status.OUT_OF_SEQUENCE: "it was restarted in the middle, or serves somebody else",
    Status.OUT_OF_PLACE: "the firmware's inputs or outputs are not this model's",
    Status.NOT_READY: "it has not got all inputs, or not run yet",
    Status.INPUT_DIFFERS: "the inputs in its memory are not those that were sent",
    Status.MODEL_FAILED: "the model failed",
    Status.STACK_OVERFLOW: "its stack overflowed: give it more",
}


_SILENCE = {
    Kind.RESET: ": is the program on the board, and is it this serial line?",
    Kind.RUN: ": the program hangs or has crashed; is its stack too small?",
}


class LineError(Exception):
    """The line does not carry frames well enough, or nobody answers."""


class DeviceError(Exception):
    """The device answers that it cannot do what was asked; ``status`` says why."""

    def __init__(self, kind: Kind, status: Status) -> None:
        super().__init__(f"the device refuses to {kind.name.lower()}: {_REASONS[status]}")
        self.status = status


class Line(Protocol):
    """A serial line of bytes."""

    def read(self, count: int, timeout: float) -> bytes:
        """1 to ``count`` bytes, or none when none came within ``timeout`` seconds."""

    def write(self, data: bytes) -> None: ...


@dataclass(frozen=True)
class Info:
    """What a device says of itself; sizes in bytes. ``model_id`` is the CRC-32 of its model's archive."""

    inputs: int
    outputs: int
    model_id: int
    memory_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class Run:
    """Each output's bytes, and the most bytes of its stack that the device has used since it was started."""

    outputs: tuple[bytes, ...]
    stack_bytes: int


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for an answer before asking again, and how often to ask.

    A device does not listen while it runs the model: to ask again then is of no use, and does no harm.
    """

    seconds: float = 1.0
    tries: int = 8
    tries_to_run: int = 60


def encode(kind: int, sequence: int, payload: bytes) -> bytes:
    """A frame."""
    body = _HEADER.pack(kind, sequence, len(payload)) + payload
    body += _CRC.pack(zlib.crc32(body))
    return _END + body.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(_END, _ESCAPED_END) + _END


def decode(between: bytes) -> tuple[int, int, bytes] | None:
    """Kind, sequence and payload of what came between two ENDs; None if that is no frame."""
    body = between.replace(_ESCAPED_END, _END).replace(_ESCAPED_ESCAPE, _ESCAPE)
    if len(body) < _HEADER.size + _CRC.size or zlib.crc32(body[: -_CRC.size]) != _CRC.unpack(body[-_CRC.size :])[0]:
        return None
    kind, sequence, length = _HEADER.unpack_from(body)
    payload = body[_HEADER.size : -_CRC.size]
    return (kind, sequence, payload) if len(payload) == length else None


class Session:
    """Talks to the device at the other end of ``line``, with ``patience``, which may be changed at any time.

    What the protocol calls a session begins with each ``info`` and each ``run``.
    """

    def __init__(self, line: Line, patience: Patience = Patience(), seed: int | None = None) -> None:
        self._line = line
        self.patience = patience
        self._draw = random.Random(seed)
        self._sequence = 0
        self._received = b""

    def info(self) -> Info:
        """Raises LineError, DeviceError."""
        self._begin()
        answer = self._ask(Kind.INFO)
        if answer[:1] != bytes([PROTOCOL_VERSION]):
            raise LineError(f"the device's firmware does not speak version {PROTOCOL_VERSION} of the protocol")
        return Info(*_fields(Kind.INFO, "<xBBxIII", answer))

    def run(self, inputs: Sequence[bytes], output_sizes: Sequence[int]) -> Run:
        """Write ``inputs``, run the model, read outputs of ``output_sizes`` bytes. Raises LineError, DeviceError."""
        self._begin()
        for port, data in enumerate(inputs):
            for at in range(0, len(data), PART_BYTES):
                self._ask(Kind.WRITE, struct.pack("<BI", port, at) + data[at : at + PART_BYTES])
        answer = self._ask(Kind.RUN, _CRC.pack(zlib.crc32(b"".join(inputs))))
        _, crc, stack_bytes = _fields(Kind.RUN, "<iII", answer)
        outputs = tuple(self._read(port, size) for port, size in enumerate(output_sizes))
        if zlib.crc32(b"".join(outputs)) != crc:
            raise LineError("the outputs that were read are not those that the device computed")
        return Run(outputs, stack_bytes)

    def _begin(self) -> None:
        # Drawn, so that an answer from an earlier session is not taken for one of this.
        self._sequence = self._draw.randrange(_SEQUENCES)
        self._received = b""
        self._ask(Kind.RESET)

    def _read(self, port: int, size: int) -> bytes:
        parts = []
        for at in range(0, size, PART_BYTES):
            count = min(PART_BYTES, size - at)
            part = self._ask(Kind.READ, struct.pack("<BIB", port, at, count))
            if len(part) != count:
                raise LineError(f"the device answers {len(part)} bytes where {count} were to be read")
            parts.append(part)
        return b"".join(parts)

    def _ask(self, kind: Kind, payload: bytes = b"") -> bytes:
        """The answer's payload without its status."""
        self._sequence = (self._sequence + 1) % _SEQUENCES
        frame = encode(kind, self._sequence, payload)
        tries = self.patience.tries_to_run if kind == Kind.RUN else self.patience.tries
        for _ in range(tries):
            self._line.write(frame)
            answer = self._await(kind)
            if answer is not None:
                return _check(kind, answer)
        waited = f"after {tries} tries of {self.patience.seconds:g} s"
        raise LineError(f"no good answer to {kind.name.lower()} {waited}{_SILENCE.get(kind, '')}")

    def _await(self, kind: Kind) -> bytes | None:
        deadline = time.monotonic() + self.patience.seconds
        while True:
            *frames, self._received = self._received.split(_END)
            for frame in map(decode, frames):
                if frame and frame[0] == kind | _REPLY and frame[1] == self._sequence:
                    return frame[2]
            left = deadline - time.monotonic()
            data = self._line.read(4096, left) if left > 0 else b""
            if not data:
                return None
            self._received += data


def _check(kind: Kind, answer: bytes) -> bytes:
    try:
        status = Status(answer[0])
    except (IndexError, ValueError):
        raise LineError(f"the device's answer to {kind.name.lower()} has no known status") from None
    if status != Status.DONE:
        raise DeviceError(kind, status)
    return answer[1:]


def _fields(kind: Kind, layout: str, answer: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(layout, answer)
    except struct.error:
        raise LineError(f"the device's answer to {kind.name.lower()} has {len(answer)} bytes") from None
