"""A serial line that spoils what it carries, by a seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from tvm_pex.microtvm.serial_protocol import Line


@dataclass
class Faults:
    """Spoils bytes and frames; the rates are per byte, and per frame. ``replays``: also frames of any time before."""

    draw: random.Random
    byte_rate: float
    frame_rate: float
    replays: bool = True
    count: Counter[str] = field(default_factory=Counter)
    earlier: list[bytes] = field(default_factory=list)

    def pass_on(self, data: bytes) -> bytes:
        if not data:
            return data
        self.earlier.append(data)
        fault = self.draw.choice(["lose", "double", "cut", "noise", *(["replay"] if self.replays else [])])
        if self.draw.random() < self.frame_rate:
            self.count[fault] += 1
            data = self.spoiled_frame(fault, data)
        return b"".join(map(self.pass_byte, data))

    def spoiled_frame(self, fault: str, data: bytes) -> bytes:
        if fault == "lose":
            return b""
        if fault == "double":
            return data + data
        if fault == "replay":
            return self.draw.choice(self.earlier) + data
        if fault == "cut":
            return data[: self.draw.randrange(len(data))]
        return self.draw.randbytes(self.draw.randrange(600)) + data

    def pass_byte(self, byte: int) -> bytes:
        if self.draw.random() >= self.byte_rate:
            return bytes([byte])
        fault = self.draw.choice(["corrupt byte", "lose byte", "double byte"])
        self.count[fault] += 1
        if fault == "lose byte":
            return b""
        return bytes([byte, byte]) if fault == "double byte" else bytes([byte ^ 1 << self.draw.randrange(8)])


@dataclass
class FaultyLine:
    device: Line
    to_device: Faults
    to_host: Faults
    requests: int = 0

    def write(self, data: bytes) -> None:
        self.requests += 1
        self.device.write(self.to_device.pass_on(data))

    def read(self, count: int, timeout: float) -> bytes:
        return self.to_host.pass_on(self.device.read(count, timeout))
