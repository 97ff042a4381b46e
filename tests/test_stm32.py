"""apps/stm32 in a project like STM32CubeMX's: it builds both ways, and what it builds classifies an image on QEMU."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from model_files import OWN, ROOT

from tvm_pex.compiler import CompiledModel, compile_model
from tvm_pex.frontend.tflite_model import load_model
from tvm_pex.microtvm.archive import write_archive
from tvm_pex.verification.verify import reference_outputs

APP = ROOT / "apps" / "stm32"
STAND_IN = Path(__file__).parent / "stm32_project"
BUILDS = {
    "make": [["make", "-s"]],
    "cmake": [
        ["cmake", "-S.", "-Bbuild", "-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_C_COMPILER=arm-none-eabi-gcc",
         "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", "-GUnix Makefiles"],
        ["cmake", "--build", "build"],
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> CompiledModel:
    return compile_model(load_model(OWN))


@pytest.mark.parametrize("way", sorted(BUILDS))
def test_a_project_with_the_network(way: str, compiled: CompiledModel, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(STAND_IN, project)
    write_archive(compiled.model, compiled, tmp_path / "network.tar")
    with tarfile.open(tmp_path / "network.tar") as archive:
        archive.extractall(project / "network")
    for name in ("classify.c", "classify.h"):
        shutil.copy(APP / name, project / "network")
    for name in ("network.mk", "network.cmake"):
        shutil.copy(APP / name, project)
    for command in BUILDS[way]:
        done = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    command = [
        "qemu-system-arm",
        "-M",
        "netduinoplus2",
        "-kernel",
        "build/project.elf",
        "-nographic",
        "-monitor",
        "none",
    ]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    kind = subprocess.run(command, cwd=project, check=False, stdin=subprocess.DEVNULL, timeout=300).returncode
    image = (np.arange(28 * 28) * 7 % 256 - 128).astype(np.int8).reshape(1, 1, 28, 28, 1)
    (scores,) = reference_outputs(compiled.model, {compiled.model.inputs[0].name: image}).values()
    assert kind == scores.argmax()


def test_little_c() -> None:
    lines = (APP / "classify.c").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) < 30
