"""How commands end that cannot do their work: full disks, folders that are read-only, Ctrl-C, two of them at once."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from model_files import OWN
from small_models import SMALL_MODELS

from tvm_pex.files import write_whole

COMMAND = [sys.executable, "-m", "tvm_pex"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "dense.tflite"
    path.write_bytes(SMALL_MODELS["dense"]())
    return path


def tvm_pex(*arguments: str | Path, **how: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, **how)  # type: ignore[call-overload]
    return done  # type: ignore[no-any-return]


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("tvm-pex: ")
    return done.stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_full_disk_behind_the_output(form: tuple[str, ...], model: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert "No space left on device" in one_line(tvm_pex("plan", *form, model, stdout=full))


def test_a_device_stays_one_and_is_full(model: Path) -> None:
    assert "No space left on device" in one_line(tvm_pex("compile", model, "-o", "/dev/full"))
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_file_that_grows_too_large_leaves_the_old_one(model: Path, tmp_path: Path) -> None:
    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    output = tmp_path / "out.tar"
    output.write_text("as it was")
    reason = one_line(tvm_pex("compile", model, "-o", output, preexec_fn=shrink, stdout=subprocess.DEVNULL))
    assert "File too large" in reason
    assert output.read_text() == "as it was"
    assert set(tmp_path.iterdir()) == {model, output}


def test_no_room_for_temporary_files(model: Path, tmp_path: Path) -> None:
    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = tvm_pex("verify", model, preexec_fn=shrink, env=environment, stdout=subprocess.DEVNULL)
    assert str(folder) in one_line(done)
    assert list(folder.iterdir()) == []


def as_any_user() -> None:
    """Of root: takes from the program that is about to start the right to write where it may not."""
    drop_from_bounding_set, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(drop_from_bounding_set, override):
        raise OSError(ctypes.get_errno(), "prctl")


def test_a_folder_that_is_read_only(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir(mode=0o500)
    done = tvm_pex("compile", model, "-o", folder / "out.tar", preexec_fn=as_any_user)
    assert "Permission denied" in one_line(done)
    assert list(folder.iterdir()) == []


def test_a_link_is_kept_and_its_file_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"


@pytest.mark.parametrize("seconds", [0.3, 1.5, 3.0])
def test_ctrl_c(seconds: float, tmp_path: Path) -> None:
    output = tmp_path / "out.tar"
    output.write_text("as it was")
    command = [*COMMAND, "verify" if seconds > 2 else "compile", str(OWN)]
    command += [] if seconds > 2 else ["-o", str(output)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    while started.poll() is None and "libtvm" not in Path(f"/proc/{started.pid}/maps").read_text():
        time.sleep(0.05)  # until then it is Python that starts
    time.sleep(seconds)
    started.send_signal(signal.SIGINT)
    assert started.communicate()[1] in ("tvm-pex: interrupted\n", "")
    if started.returncode:  # it had not done its work before
        assert started.returncode == 130
        assert output.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [output]


def test_two_at_once(model: Path, tmp_path: Path) -> None:
    """They write the same file, from the same folder: it is one of theirs, and whole."""
    alone, output = tmp_path / "alone.tar", tmp_path / "out.tar"
    assert tvm_pex("compile", model, "-o", alone, stdout=subprocess.DEVNULL).returncode == 0
    command = [*COMMAND, "compile", str(model), "-o", str(output)]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    verify = [subprocess.Popen([*COMMAND, "verify", str(model)], cwd=tmp_path, stdout=subprocess.DEVNULL)]
    assert [started.wait() for started in both + verify] == [0, 0, 0]
    assert output.read_bytes() == alone.read_bytes()
    assert set(tmp_path.iterdir()) == {model, alone, output}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--timeout", "nan"), "--timeout nan"),
        (("run", "--board", "toaster"), "'toaster' is not one of"),
        (("plan", "--max-overhead", "1e308"), "--max-overhead"),
        (("plan", "--axes", "time"), "'time' is not one of"),
        (("plan", "--no-such-option"), "No such option"),
        (("fly",), "No such command 'fly'"),
        (("verify", "--inputs", "0"), "--inputs"),
    ],
)
def test_options_that_make_no_sense(arguments: tuple[str, ...], words: str, model: Path) -> None:
    assert words in one_line(tvm_pex(*arguments, model, stdout=subprocess.DEVNULL))


def test_a_flash_smaller_than_its_first_table(model: Path) -> None:
    needs = []
    for flash in ("1", "64"):
        done = tvm_pex("run", "--device-flash", flash, model, stdout=subprocess.DEVNULL)
        assert done.returncode == 3 and done.stderr.count("\n") == 1
        needs.append(done.stderr.split("needs ")[1].split(" bytes")[0])
    assert len(set(needs)) == 1
