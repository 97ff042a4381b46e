"""apps/camera: pictures row by row into firmware that has no room for them, and the same on an STM32."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from click.testing import CliRunner
from model_files import OWN, ROOT, shared_model

from tvm_pex.compiler import compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.microtvm.archive import write_archive
from tvm_pex.options import PlanOptions

sys.path.insert(0, str(ROOT / "apps" / "camera"))

import camera


def test_pictures_through_the_uart() -> None:
    done = CliRunner().invoke(camera.main, ["--json", "--pictures", "2", "--ram", "12288", str(OWN)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["exact"] is True
    assert report["ram_bytes"] <= 12288
    assert (report["picture_bytes"], report["row_bytes"]) == (28 * 28, 28)


def test_a_picture_larger_than_the_device() -> None:
    done = CliRunner().invoke(camera.main, ["--json", "--pictures", "1", str(shared_model("vww_96_int8"))])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["exact"] is True
    assert report["ram_bytes"] <= report["device_ram_bytes"] == 16 << 10 < report["picture_bytes"]


def test_a_device_that_is_too_small() -> None:
    done = CliRunner().invoke(camera.main, ["--ram", "2048", str(OWN)])
    assert (done.exit_code, done.stdout) == (3, "")
    assert "more than the 2048" in done.stderr


def test_the_stm32_program_compiles_and_is_short(tmp_path: Path) -> None:
    program = ROOT / "apps" / "camera" / "stm32_dcmi.c"
    assert len(program.read_text().splitlines()) < 40
    compiled = compile_model(load_model(OWN), PlanOptions(stream_input=True))
    write_archive(compiled.model, compiled, tmp_path / "network.tar")
    with tarfile.open(tmp_path / "network.tar") as archive:
        archive.extractall(tmp_path)
    headers = [tmp_path / "codegen/host/include", ROOT / "tests" / "stm32_camera"]
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-c"]
    command += [*(f"-I{folder}" for folder in headers), str(program), "-o", str(tmp_path / "camera.o")]
    subprocess.run(command, check=True)
