"""Serial lines to a device: an emulator's standard input and output, or a serial port.

``read(count, timeout)`` gives 1 to ``count`` bytes, or none when none came within ``timeout`` seconds (None: waits).
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from .server import ServerError, TransportClosedError


class ProcessLink:
    """A process whose standard input and output are the serial line; what it has to say is on standard error."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(list(command), bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except FileNotFoundError:
            raise ServerError(f"{command[0]} is not installed") from None
        self._name = Path(command[0]).name

    def read(self, count: int, timeout: float | None) -> bytes:
        source = self._pipe(self._process.stdout)
        if not select.select([source], [], [], timeout)[0]:
            return b""
        data = os.read(source.fileno(), count)
        if not data:
            raise TransportClosedError(f"{self._name} has ended, with status {self._process.wait()}")
        return data

    def write(self, data: bytes) -> None:
        try:
            self._pipe(self._process.stdin).write(data)
        except BrokenPipeError:
            raise TransportClosedError(f"{self._name} has ended, with status {self._process.wait()}") from None

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            self._pipe(pipe).close()
        self._process.kill()
        self._process.wait()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe

    def __enter__(self) -> ProcessLink:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def emulator_command(machine: str, cpu: str, elf: Path) -> list[str]:
    """QEMU with the first UART on its standard input and output."""
    # Not -nographic: it would put QEMU's monitor on the serial line.
    quiet = ("-display", "none", "-monitor", "none")
    return ["qemu-system-arm", "-machine", machine, "-cpu", cpu, *quiet, "-serial", "stdio", "-kernel", str(elf)]


class SerialLink:
    """A serial port."""

    def __init__(self, port: str, baudrate: int) -> None:
        serial = _pyserial()
        try:
            self._port = serial.Serial(port, baudrate)
        except serial.SerialException as error:
            raise ServerError(f"cannot open {port}: {error}") from None

    def read(self, count: int, timeout: float | None) -> bytes:
        try:
            self._port.timeout = timeout
            first = self._port.read(1)
            return bytes(first + self._port.read(min(count - 1, self._port.in_waiting))) if first else b""
        except OSError as error:  # pyserial's own errors are among them
            raise TransportClosedError(str(error)) from None

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:  # pyserial's own errors are among them
            raise TransportClosedError(str(error)) from None

    def close(self) -> None:
        self._port.close()


def find_port(usb_ids: Sequence[str], serial_number: str | None) -> str:
    """The one serial port of a board with one of ``usb_ids`` ("vendor:product"), or with ``serial_number``."""
    _pyserial()
    from serial.tools import list_ports

    wanted = f"serial number {serial_number}" if serial_number else f"USB id {' or '.join(usb_ids)}"
    found = [
        port
        for port in list_ports.comports()
        if (port.serial_number == serial_number if serial_number else _usb_id(port) in usb_ids)
    ]
    if len(found) != 1:
        names = ", ".join(f"{port.device} (serial number {port.serial_number})" for port in found)
        raise ServerError(
            f"{len(found)} serial ports have {wanted}: {names}; give the option port or serial_number"
            if found
            else f"no serial port has {wanted}: is the board plugged in? The option port names one"
        )
    return str(found[0].device)


def _usb_id(port: Any) -> str:
    return "" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}"


def _pyserial() -> Any:
    try:
        import serial
    except ImportError:
        raise ServerError("a serial port needs pyserial: pip install pyserial") from None
    return serial
