"""``tvm-pex run`` as a user runs it, and the inputs that it reads."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stock_plans
from click.testing import CliRunner
from model_files import OWN
from PIL import Image
from test_cli import tvm_pex

from tvm_pex.cli import main
from tvm_pex.cli.errors import BadInput
from tvm_pex.cli.input_files import read_inputs
from tvm_pex.cli.run import _stock
from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import Port, load_model
from tvm_pex.lowering.aot import AotError
from tvm_pex.microtvm.boards import BOARDS
from tvm_pex.options import PlanOptions
from tvm_pex.verification.firmware import Task

KEYS = {
    "model", "board", "exact", "arena_bytes", "stack_bytes", "ram_bytes", "other_ram_bytes", "flash_bytes",
    "instructions", "ram", "flash", "outputs",
}  # fmt: skip
INT8 = Port("x", (1, 4, 6, 1), "int8", 0.5, -3)


@stock_plans.GROUP
def test_json_beside_stock_in_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock_plans.share(monkeypatch)
    output = tmp_path / "y.npy"
    device = ("--device-ram", "16k", "--device-flash", "128KiB")
    arguments = ["run", "--json", "--stock", "--per-operator", *device, "--output", output, OWN]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer.keys() >= KEYS
    assert answer["exact"] is True
    assert answer["ram_bytes"] == answer["arena_bytes"] + answer["stack_bytes"] + answer["other_ram_bytes"] <= 16 << 10
    assert answer["ram_bytes"] == sum(answer["ram"].values())
    assert answer["flash_bytes"] == sum(answer["flash"].values())
    assert [np.load(output).reshape(-1).tolist()] == list(answer["outputs"].values())
    stock = answer["stock"]
    assert "exact" not in stock
    assert stock["arena_bytes"] > 16 << 10
    assert "more than the 16384" in stock["reason"]
    assert sum(row["instructions"] for row in answer["operators"]) == answer["instructions"]
    check_operators(answer["operators"])


def check_operators(rows: list[dict[str, Any]]) -> None:
    """Beside what is planned in this process; what is no operator of a region has no plan."""
    plan = {
        row["operator"]: row
        for row in compile_model(load_model(OWN), PlanOptions(core="cortex-m4")).report["operators"]
    }
    assert [row["operator"] for row in rows if row["predicted"] is not None] == list(plan)
    for row in rows:
        planned = plan.get(row["operator"], {"instructions": None, "macs": 0})
        each = row["instructions"] / planned["macs"] if planned["macs"] else None
        assert row["predicted"] == planned["instructions"]
        assert (row["macs"], row["instructions_per_mac"]) == (planned["macs"] or None, each)
        assert 0 <= row["outside_inner_loops"] <= 1
    assert {"conv0", "add4", "(calls)"} <= {row["operator"] for row in rows}


def test_a_network_that_stock_does_not_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise AotError("it asks for memory at run time")

    monkeypatch.setattr("tvm_pex.verification.stock_baseline.best_stock", fails)
    model = load_model(OWN)
    board = BOARDS["mps2-an386"]
    stock = _stock(model, Task(board, board, {}, {}), lambda *_: None)
    assert stock == {"reason": "it asks for memory at run time"}


def test_table_of_the_largest_and_the_smallest_input(tmp_path: Path) -> None:
    Image.new("L", (90, 50), 255).save(tmp_path / "white.png")
    np.save(tmp_path / "white.npy", np.full((28, 28), 127, np.int8))
    printed = []
    for name in ("white.png", "white.npy"):
        done = tvm_pex("run", "--board", "mps3-an547", "--per-operator", "--input", tmp_path / name, OWN)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert "Executed instructions by operator" in printed[0]
    assert "depthwise2" in printed[0]
    assert "outside inner" in printed[0]


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    for option, size in (("--device-ram", "8k"), ("--device-flash", "16k")):
        done = tvm_pex("run", option, size, "--output", tmp_path / "y.npy", OWN)
        assert done.returncode == 3
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert f"more than the {int(size[:-1]) << 10}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_end_is_one_line() -> None:
    done = tvm_pex("run", "--timeout", "0.001", OWN)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr == "tvm-pex: mps2-an386: the firmware did not end within 0.001 seconds\n"


def test_bad_choices_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("no input")
    for options, word in (
        (("--board", "netduinoplus2", "--device-ram", "1m"), "has 131072 bytes"),
        (("--input", tmp_path / "missing.npy"), "missing.npy"),
        (("--input", tmp_path / "x.txt"), "an input is"),
        (("--output", tmp_path), "is a directory"),
    ):
        done = tvm_pex("run", *options, OWN)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert word in done.stderr


def test_missing_tools_are_one_line() -> None:
    done = tvm_pex("run", OWN, PATH="/nonexistent")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "apt-get install --no-install-recommends gcc-arm-none-eabi qemu-system-arm" in done.stderr


def test_help_names_boards() -> None:
    text = tvm_pex("run", "--help").stdout
    assert all(board in text for board in BOARDS)


def read(path: Path, *ports: Port) -> list[np.ndarray]:
    return list(read_inputs(path, ports).values())


def test_arrays(tmp_path: Path) -> None:
    whole = np.arange(-12, 12, dtype=np.int8).reshape(1, 4, 6, 1)
    for values in (whole, whole[0, :, :, 0], whole.astype(np.int64), (whole + 3.0) * 0.5, (whole + 3.1) * 0.5):
        np.save(tmp_path / "x.npy", values)
        (found,) = read(tmp_path / "x.npy", INT8)
        assert found.dtype == np.int8
        assert found.tolist() == [whole.tolist()]
    np.save(tmp_path / "x.npy", np.full(24, 1e9))
    assert read(tmp_path / "x.npy", INT8)[0].min() == 127
    np.savez(tmp_path / "x.npz", a=whole, b=np.float32(2))
    found = read(tmp_path / "x.npz", Port("b", (), "float32"), Port("a", INT8.shape, "int8"))
    assert found[0].tolist() == [2]
    assert found[1].tolist() == [whole.tolist()]


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for values, word in ((np.zeros(23, np.int8), "not \\[23\\]"), (np.full(24, 128), "cannot hold")):
        np.save(path, values)
        with pytest.raises(BadInput, match=word):
            read(path, INT8)
    np.save(path, np.zeros(24))
    with pytest.raises(BadInput, match="without scale"):
        read(path, Port("x", (24,), "int8"))
    with pytest.raises(BadInput, match=r"2 inputs.*\.npz"):
        read(path, INT8, INT8)
    np.savez(tmp_path / "x.npz", y=np.zeros(24))
    with pytest.raises(BadInput, match="x is not a file"):
        read(tmp_path / "x.npz", INT8)
    whole = (tmp_path / "x.npz").read_bytes()
    spoiled = whole.replace(bytes(24), bytes(23) + b"1")
    for name, data in (("x.npy", b"no array"), ("x.npy", whole), ("x.npz", whole[:-30]), ("x.npz", spoiled)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInput, match="cannot be read"):
            read(tmp_path / name, Port("y", (24,), "float64"))
    np.save(path, np.zeros(24))
    path.rename(tmp_path / "x.npz")
    with pytest.raises(BadInput, match="no archive of arrays"):
        read(tmp_path / "x.npz", INT8)


def test_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    image = Image.new("RGB", (6, 4))
    image.putpixel((5, 3), (255, 0, 100))
    image.save(path)
    (found,) = read(path, Port("x", (1, 4, 6, 3), "int8", 1.0, 0))
    assert found[0, 0, 3, 5].tolist() == [127, -128, -28]
    assert found[0, 0, 0, 0].tolist() == [-128] * 3
    assert read(path, Port("x", (1, 4, 6, 3), "uint8", 1.0, 0))[0][0, 0, 3, 5].tolist() == [255, 0, 100]
    assert read(path, Port("x", (4, 6, 3), "float32"))[0][0, 3, 5].tolist() == [1, 0, np.float32(100 / 255)]
    assert read(path, INT8)[0].shape == (1, 1, 4, 6, 1)
    assert read(path, Port("x", (1, 8, 8, 1), "int8"))[0].shape == (1, 1, 8, 8, 1)
    for shape in ((1, 4, 6, 2), (2, 4, 6, 3), (24,)):
        with pytest.raises(BadInput, match="no picture"):
            read(path, Port("x", shape, "int8"))


def test_sound(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"

    def write(samples: list[int], channels: int = 1) -> None:
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(channels)
            sound.setsampwidth(2)
            sound.setframerate(16000)
            sound.writeframes(np.array(samples, "<i2").tobytes())

    write([0, 16384, -32768])
    assert read(path, Port("x", (1, 3), "int16"))[0].tolist() == [[[0, 16384, -32768]]]
    assert read(path, Port("x", (1, 3), "float32"))[0].tolist() == [[[0, 0.5, -1]]]
    with pytest.raises(BadInput, match="features and not samples"):
        read(path, Port("x", (1, 3), "int8", 1.0, 0))
    with pytest.raises(BadInput, match="has 3 samples; x takes 4"):
        read(path, Port("x", (1, 4), "int16"))
    write([1, 2], channels=2)
    with pytest.raises(BadInput, match="one channel"):
        read(path, Port("x", (1, 1), "int16"))
