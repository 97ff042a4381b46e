"""The firmware's own C and the Python of the host, with a line between them that spoils bytes.

No clock decides: the line of most tests answers at once or never.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from faulty_line import Faults, FaultyLine

from tvm_pex.microtvm import serial_protocol
from tvm_pex.microtvm.project_api.links import ProcessLink, SerialLink
from tvm_pex.microtvm.serial_protocol import DeviceError, Kind, LineError, Patience, Session, Status, decode, encode

FIRMWARE = Path(serial_protocol.__file__).parent / "firmware"
FILES = Path(__file__).parent / "serial_protocol"
SIZES = (700, 31)
OUTPUTS = (500, 3)


def compiled(target: Path, source: str, *flags: str) -> Path:
    sources = [FIRMWARE / "protocol.c", FILES / "toy_model.c", FILES / source]
    warnings = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
    subprocess.run(["gcc", *warnings, *flags, f"-I{FIRMWARE}", *map(str, sources), "-o", str(target)], check=True)
    return target


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library") / "device.so", "in_process.c", "-O1", "-shared", "-fPIC")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sanitize = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
    return compiled(tmp_path_factory.mktemp("program") / "device", "on_pipes.c", *sanitize)


class Device:
    """The C in this process, freshly started, as a line without faults."""

    def __init__(self, library: Path, folder: Path) -> None:
        copy = folder / f"device{len(list(folder.iterdir()))}.so"  # a library of its own has variables of its own
        copy.write_bytes(library.read_bytes())
        self._c = ctypes.CDLL(str(copy))
        self._sent = (ctypes.c_ubyte * (1 << 20)).in_dll(self._c, "sent")
        self._count = ctypes.c_uint32.in_dll(self._c, "sent_count")

    @property
    def runs(self) -> int:
        return ctypes.c_uint32.in_dll(self._c, "runs").value

    def write(self, data: bytes) -> None:
        self._c.receive(data, len(data))

    def read(self, count: int, timeout: float) -> bytes:
        data = bytes(self._sent[: self._count.value])
        self._count.value = 0
        return data


def tensors(draw: random.Random) -> tuple[bytes, bytes]:
    first, second = (draw.randbytes(size) for size in SIZES)
    return b"\x01" + first[1:], second


def expected(inputs: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """What the toy model computes, by numpy."""
    first, second = (np.frombuffer(data, np.uint8) for data in inputs)
    sums = 3 * first[: OUTPUTS[0]] + np.resize(second, OUTPUTS[0])
    return sums.astype(np.uint8).tobytes(), second[: OUTPUTS[1]].tobytes()


def test_without_faults(library: Path, tmp_path: Path) -> None:
    device = Device(library, tmp_path)
    session = Session(device, seed=1)
    info = session.info()
    assert (info.inputs, info.outputs, info.memory_bytes, info.stack_bytes) == (2, 2, 731, 1024)
    assert info.model_id == 0xC0DBC0DB  # signs of the frame itself
    for seed in range(20):
        inputs = tensors(random.Random(seed))
        run = session.run(inputs, OUTPUTS)
        assert run.outputs == expected(inputs)
        assert run.stack_bytes == 300
    assert device.runs == 20


@pytest.mark.parametrize(
    ("byte_rate", "frame_rate", "runs", "fewest_done"),
    [(0.0005, 0.02, 150, 140), (0.0, 0.4, 150, 120), (0.004, 0.1, 100, 80), (0.05, 0.1, 30, 0)],
)
def test_a_bad_line_never_gives_a_wrong_tensor(
    byte_rate: float, frame_rate: float, runs: int, fewest_done: int, library: Path, tmp_path: Path
) -> None:
    draw = random.Random(hash((byte_rate, frame_rate)))
    device = Device(library, tmp_path)
    line = FaultyLine(device, *(Faults(draw, byte_rate, frame_rate) for _ in range(2)))
    session = Session(line, Patience(tries=40, tries_to_run=40), seed=7)
    done = 0
    for _ in range(runs):
        inputs = tensors(draw)
        try:
            outputs = session.run(inputs, OUTPUTS).outputs
        except (LineError, DeviceError):
            continue
        assert outputs == expected(inputs)
        done += 1
    assert done >= fewest_done
    assert line.requests >= 1000
    assert min(sum(faults.count.values()) for faults in (line.to_device, line.to_host)) >= 40


def test_every_single_byte_lost_or_changed(library: Path, tmp_path: Path) -> None:
    """Each byte of a whole run, both ways: asked again, run once, and right."""
    inputs = tensors(random.Random(3))
    device = Device(library, tmp_path)

    class OneFault:
        def __init__(self, at: int, loses: bool) -> None:
            self.at, self.loses, self.passed = at, loses, 0

        def spoil(self, data: bytes) -> bytes:
            at = self.at - self.passed
            self.passed += len(data)
            if not 0 <= at < len(data):
                return data
            return data[:at] + (b"" if self.loses else bytes([data[at] ^ 0x55])) + data[at + 1 :]

        def write(self, data: bytes) -> None:
            device.write(self.spoil(data))

        def read(self, count: int, timeout: float) -> bytes:
            return self.spoil(device.read(count, timeout))

    whole = OneFault(-1, False)
    Session(whole, seed=0).run(inputs, OUTPUTS)
    for at in range(whole.passed):
        for loses in (False, True):
            before = device.runs
            assert Session(OneFault(at, loses), seed=at).run(inputs, OUTPUTS).outputs == expected(inputs)
            assert device.runs == before + 1


def ask(device: Device, kind: int, sequence: int, payload: bytes = b"") -> tuple[int, bytes]:
    """The status and what follows it."""
    device.write(encode(kind, sequence, payload))
    between = [part for part in device.read(4096, 0).split(b"\xc0") if part]
    assert len(between) == 1
    answer = decode(between[0])
    assert answer is not None
    assert answer[:2] == (kind | 0x80, sequence)
    return answer[2][0], answer[2][1:]


def write(port: int, offset: int, data: bytes) -> bytes:
    return struct.pack("<BI", port, offset) + data


def test_what_a_device_refuses(library: Path, tmp_path: Path) -> None:
    device = Device(library, tmp_path)
    assert ask(device, Kind.INFO, 5)[0] == Status.OUT_OF_SEQUENCE  # no session yet
    assert ask(device, Kind.RESET, 65534)[0] == Status.DONE
    requests = [
        (Kind.RUN, struct.pack("<I", 0), Status.NOT_READY),
        (Kind.READ, struct.pack("<BIB", 0, 0, 1), Status.NOT_READY),
        (Kind.WRITE, write(0, 1, b"x"), Status.OUT_OF_PLACE),  # a gap
        (Kind.WRITE, write(1, 0, b"x"), Status.OUT_OF_PLACE),  # the second input first
        (Kind.WRITE, write(0, 0xFFFFFFFF, b"xx"), Status.OUT_OF_PLACE),
        (Kind.WRITE, write(0, 0, b""), Status.UNKNOWN),
        (Kind.READ, b"", Status.UNKNOWN),
        (9, b"", Status.UNKNOWN),
        *((Kind.WRITE, write(0, at, bytes(100)), Status.DONE) for at in range(0, 700, 100)),
        (Kind.RUN, struct.pack("<I", 0), Status.NOT_READY),  # half of the inputs
        (Kind.WRITE, write(1, 0, bytes(32)), Status.OUT_OF_PLACE),  # one byte too many
        (Kind.WRITE, write(1, 0, bytes(31)), Status.DONE),
        (Kind.WRITE, write(2, 0, b"x"), Status.OUT_OF_PLACE),
        (Kind.RUN, struct.pack("<I", zlib.crc32(bytes(731))), Status.DONE),
        (Kind.READ, struct.pack("<BIB", 1, 2, 1), Status.DONE),
        (Kind.READ, struct.pack("<BIB", 1, 3, 1), Status.OUT_OF_PLACE),
        (Kind.READ, struct.pack("<BIB", 1, 0xFFFFFFFF, 2), Status.OUT_OF_PLACE),
        (Kind.READ, struct.pack("<BIB", 2, 0, 1), Status.OUT_OF_PLACE),
        (Kind.READ, struct.pack("<BIB", 0, 0, 241), Status.UNKNOWN),
        (Kind.RUN, struct.pack("<I", zlib.crc32(bytes(731))), Status.NOT_READY),  # the run has used the inputs up
        (Kind.WRITE, write(0, 0, bytes(9)), Status.DONE),
        (Kind.READ, struct.pack("<BIB", 0, 0, 1), Status.NOT_READY),  # and an input has used the outputs up
    ]
    for step, (kind, payload, status) in enumerate(requests, 65535):
        assert ask(device, kind, step % 65536, payload)[0] == status, (step, kind)
    assert device.runs == 1
    for jump in (2, -1, 1000):
        assert ask(device, Kind.INFO, (step + jump) % 65536)[0] == Status.OUT_OF_SEQUENCE


def test_a_request_that_comes_twice_is_answered_twice_and_done_once(library: Path, tmp_path: Path) -> None:
    device = Device(library, tmp_path)
    inputs = tensors(random.Random(4))
    Session(device, seed=0).run(inputs, OUTPUTS)
    ask(device, Kind.RESET, 0)
    ask(device, Kind.WRITE, 1, write(0, 0, inputs[0][:200]))
    for _ in range(3):
        assert ask(device, Kind.WRITE, 2, write(0, 200, inputs[0][200:400]))[0] == Status.DONE
    ask(device, Kind.WRITE, 3, write(0, 400, inputs[0][400:600]))
    ask(device, Kind.WRITE, 4, write(0, 600, inputs[0][600:]))
    ask(device, Kind.WRITE, 5, write(1, 0, inputs[1]))
    answers = {ask(device, Kind.RUN, 6, struct.pack("<I", zlib.crc32(b"".join(inputs)))) for _ in range(3)}
    assert len(answers) == 1
    assert device.runs == 2


def test_what_the_device_finds_is_named(library: Path, tmp_path: Path) -> None:
    first, second = tensors(random.Random(5))
    session = Session(Device(library, tmp_path), seed=0)
    with pytest.raises(DeviceError, match="the model failed"):
        session.run((b"\xee" + first[1:], second), OUTPUTS)
    to_255 = bytes([(255 - second[0]) * 171 % 256])  # 171 * 3 = 1 (mod 256)
    with pytest.raises(DeviceError, match="stack overflowed"):
        session.run((to_255 + first[1:], second), OUTPUTS)
    with pytest.raises(DeviceError, match="not this model's"):
        session.run((first + b"x", second), OUTPUTS)


def test_a_device_that_changes_its_input_or_its_output(library: Path, tmp_path: Path) -> None:
    """Frames with a right CRC and wrong bytes: the CRC over whole tensors finds them."""
    inputs = tensors(random.Random(6))

    class Liar:
        def __init__(self, kind: int) -> None:
            self.device, self.kind = Device(library, tmp_path), kind

        def forge(self, frame: bytes) -> bytes:
            found = decode(frame.strip(b"\xc0"))
            if found is None or found[0] != self.kind:
                return frame
            return encode(found[0], found[1], found[2][:-1] + bytes([found[2][-1] ^ 1]))

        def write(self, data: bytes) -> None:
            self.device.write(self.forge(data))

        def read(self, count: int, timeout: float) -> bytes:
            return self.forge(self.device.read(count, timeout))

    with pytest.raises(DeviceError, match="not those that were sent"):
        Session(Liar(Kind.WRITE), seed=0).run(inputs, OUTPUTS)
    with pytest.raises(LineError, match="not those that the device computed"):
        Session(Liar(Kind.READ | 0x80), seed=0).run(inputs, OUTPUTS)


def test_a_request_of_an_earlier_session_whose_number_is_right_by_chance(library: Path, tmp_path: Path) -> None:
    """It takes the place of the RUN, which is not a repetition of it."""
    device = Device(library, tmp_path)

    class Late:
        def write(self, data: bytes) -> None:
            found = decode(data.strip(b"\xc0"))
            assert found
            if found[0] == Kind.RUN:
                device.write(encode(Kind.READ, found[1], struct.pack("<BIB", 0, 0, 1)))
            device.write(data)

        def read(self, count: int, timeout: float) -> bytes:
            return device.read(count, timeout)

    with pytest.raises(DeviceError, match="refuses to run: it was restarted"):
        Session(Late(), seed=0).run(tensors(random.Random(8)), OUTPUTS)
    assert device.runs == 0


def test_an_answer_of_another_length() -> None:
    class Short:
        def write(self, data: bytes) -> None:
            found = decode(data.strip(b"\xc0"))
            assert found
            payload = {Kind.RESET: b"\x00", Kind.INFO: b"\x00\x01\x02"}[Kind(found[0])]
            self.answer = encode(found[0] | 0x80, found[1], payload)

        def read(self, count: int, timeout: float) -> bytes:
            return self.answer

    with pytest.raises(LineError, match="answer to info has 2 bytes"):
        Session(Short(), seed=0).info()


def test_nobody_answers() -> None:
    class Silence:
        asked = 0

        def write(self, data: bytes) -> None:
            self.asked += 1

        def read(self, count: int, timeout: float) -> bytes:
            return b""

    line = Silence()
    with pytest.raises(LineError, match="no good answer to reset after 3 tries of 1 s: is the program on the board"):
        Session(line, Patience(tries=3), seed=0).info()
    assert line.asked == 3


@pytest.mark.parametrize("seed", range(3))
def test_noise_on_pipes_under_the_sanitizer(seed: int, program: Path) -> None:
    """Noise, and good frames with senseless requests, into a process that dies of any byte out of bounds."""
    draw = random.Random(seed)
    with ProcessLink([str(program)]) as link:
        for _ in range(300):
            payload = draw.randbytes(draw.choice([0, 1, 4, 5, 6, 20, 245, 255]))
            link.write(draw.choice([encode(draw.randrange(8), draw.randrange(3), payload), draw.randbytes(300)]))
        for _ in range(3):
            inputs = tensors(draw)
            assert Session(link, seed=seed).run(inputs, OUTPUTS).outputs == expected(inputs)


def test_over_a_serial_port(program: Path) -> None:
    """pyserial on a pseudoterminal, whose other end is the device's standard input and output."""
    board, terminal = os.openpty()
    link = SerialLink(os.ttyname(terminal), 115200)
    with subprocess.Popen([str(program)], stdin=board, stdout=board) as process:
        try:
            for seed in range(20):
                inputs = tensors(random.Random(seed))
                assert Session(link, seed=seed).run(inputs, OUTPUTS).outputs == expected(inputs)
        finally:
            process.kill()
            link.close()
    os.close(board)
    os.close(terminal)
