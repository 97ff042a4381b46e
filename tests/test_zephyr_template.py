"""The Zephyr template: what it makes, which tools it calls and how. A real build needs Zephyr, which CI has not."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from toy_archive import toy_inputs, toy_output, write_toy_archive

from tvm_pex.microtvm import Project, generate_project
from tvm_pex.microtvm.project_api import links
from tvm_pex.microtvm.project_api.client import ProjectAPIError
from tvm_pex.microtvm.project_api.server import ServerError
from tvm_pex.microtvm.project_api.zephyr import ZephyrHandler, configure_command, flash_command, toolchain
from tvm_pex.microtvm.project_api.zephyr_boards import BOARDS, BY_NAME

RUNNERS = "runners:\n- stm32cubeprogrammer\n- openocd\n\n# Default flash runner\nflash-runner: {}\n"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_archive(tmp_path_factory.mktemp("archive") / "model.tar")


def zephyr_tree(folder: Path, release: str, *modules: str) -> Path:
    base = folder / "zephyr"
    base.mkdir(parents=True)
    major, minor = release.split(".")
    (base / "VERSION").write_text(f"VERSION_MAJOR = {major}\nVERSION_MINOR = {minor}\nPATCHLEVEL = 99\n")
    for module in modules:
        (folder / "modules" / module).mkdir(parents=True)
    return base


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with tools that write down how they were called; cmake also makes the outputs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    record = (
        f"#!{sys.executable}\nimport json, os, pathlib, sys\n"
        "keys = ('ZEPHYR_BASE', 'ZEPHYR_TOOLCHAIN_VARIANT', 'GNUARMEMB_TOOLCHAIN_PATH')\n"
        "call = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]], {key: os.environ.get(key) for key in keys}\n"
        f"with open({str(tmp_path / 'calls')!r}, 'a') as file: print(json.dumps(call), file=file)\n"
    )
    made = (
        "out = pathlib.Path('build/zephyr')\nout.mkdir(parents=True, exist_ok=True)\n(out / 'zephyr.elf').touch()\n"
        f"(out / 'runners.yaml').write_text({RUNNERS.format('stm32cubeprogrammer')!r})\n"
    )
    for name, more in {"cmake": made, "west": "", "qemu-system-arm": "", "arm-none-eabi-gcc": ""}.items():
        (folder / name).write_text(record + more)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    for variable in ("ZEPHYR_BASE", "ZEPHYR_TOOLCHAIN_VARIANT", "ZEPHYR_SDK_INSTALL_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return folder


def calls(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    for line in (tmp_path / "calls").read_text().splitlines():
        command, environment = json.loads(line)
        yield command, environment


def test_a_generated_project(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    generate_project("zephyr", archive, folder, board="nucleo_f746zg", config_main_stack_size=3072).close()
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"CMakeLists.txt", "Kconfig", "prj.conf", "src/main.c", "firmware/protocol.c"} <= files
    assert not any(file.endswith(".in") for file in files)
    settings = dict(
        line.split("=") for line in (folder / "prj.conf").read_text().splitlines() if line and not line.startswith("#")
    )
    assert settings["CONFIG_MAIN_STACK_SIZE"] == "3072"
    assert settings["CONFIG_CONSOLE"] == "n"  # the serial line is the protocol's
    assert not any("NEWLIB" in name for name in settings)
    sources = (folder / "CMakeLists.txt").read_text()
    for path in ("src/main.c", "firmware/protocol.c", "firmware/model.c"):
        assert path in sources
        assert (folder / path).exists()
    with pytest.raises(ProjectAPIError, match="config_main_stack_size is of type int"):
        generate_project("zephyr", archive, tmp_path / "other", board="nucleo_f746zg", config_main_stack_size="big")


@pytest.mark.parametrize(
    ("board", "release", "name"),
    [
        ("mps2/an385", "3.2", "mps2_an385"),
        ("mps2/an385", "3.6", "mps2_an385"),
        ("mps2/an385", "3.7", "mps2/an385"),
        ("mps2_an521", "3.6", "mps2_an521"),
        ("mps2_an521", "4.2", "mps2/an521/cpu0"),
        ("mps2/an521/cpu0", "3.2", "mps2_an521"),
        ("mps3/an547", "3.7", "mps3/an547"),
        ("mps3/an547", "4.0", "mps3/corstone300/an547"),
        ("mps3/corstone300/an547", "3.4", "mps3_an547"),
        ("nucleo_l4r5zi", "3.2", "nucleo_l4r5zi"),
        ("nucleo_l4r5zi", "4.2", "nucleo_l4r5zi"),
    ],
)
def test_board_names(board: str, release: str, name: str, tmp_path: Path) -> None:
    command = configure_command(zephyr_tree(tmp_path, release), {"board": board}, tmp_path / "project")
    assert f"-DBOARD={name}" in command


@pytest.mark.parametrize("release", ["2.7", "3.1", "5.0"])
def test_releases_that_are_not_supported(release: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=f"Zephyr {release} is not supported"):
        configure_command(zephyr_tree(tmp_path, release), {"board": "mps2/an385"}, tmp_path)


def test_every_board_can_be_reached() -> None:
    for name, board in BOARDS.items():
        assert BY_NAME[name] is board
        assert bool(board.qemu) != bool(board.usb_ids)


def test_build_flash_and_run_on_the_emulator(archive: Path, tools: Path, tmp_path: Path) -> None:
    base = zephyr_tree(tmp_path / "tree", "4.2", "hal/cmsis_6", "lib/picolibc", "hal/other")
    with generate_project("zephyr", archive, tmp_path / "p", board="mps2/an385", zephyr_base=str(base)) as project:
        project.build().flash()
        with pytest.raises(ProjectAPIError, match="qemu-system-arm has ended"):
            project.run(toy_inputs(0))
    configure, build, emulate = calls(tmp_path)
    modules = ";".join(str(tmp_path / "tree/modules" / module) for module in ("hal/cmsis_6", "lib/picolibc"))
    expected = ["cmake", "-GNinja", "-S", str(tmp_path / "p"), "-B", str(tmp_path / "p/build")]
    assert configure[0] == [*expected, "-DBOARD=mps2/an385", f"-DZEPHYR_MODULES={modules}"]
    assert build[0] == ["cmake", "--build", "build"]
    for _, environment in (configure, build):
        assert environment == {
            "ZEPHYR_BASE": str(base),
            "ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb",
            "GNUARMEMB_TOOLCHAIN_PATH": str(tools.parent),
        }
    command = emulate[0]
    assert command[:5] == ["qemu-system-arm", "-machine", "mps2-an385", "-cpu", "cortex-m3"]
    assert command[-2:] == ["-kernel", str(tmp_path / "p/build/zephyr/zephyr.elf")]
    assert "-nographic" not in command  # the monitor would sit on the serial line


def test_relative_paths_are_the_callers(
    archive: Path, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = zephyr_tree(tmp_path / "tree", "4.2")
    options = {"zephyr_base": "tree/zephyr", "zephyr_modules": "a;tree/b"}
    monkeypatch.chdir(tmp_path)
    with generate_project("zephyr", archive, "p", board="mps2/an385", **options) as project:
        project.build()
    monkeypatch.chdir(tools)
    with Project(tmp_path / "p") as project:  # it knows them, wherever it is used
        project.build()
    first, _, second, _ = calls(tmp_path)
    assert first == second
    assert first[0][-1] == f"-DZEPHYR_MODULES={tmp_path / 'a'};{tmp_path / 'tree/b'}"
    assert first[1]["ZEPHYR_BASE"] == str(base)


def test_flash_of_a_board(archive: Path, tools: Path, tmp_path: Path) -> None:
    base = zephyr_tree(tmp_path / "tree", "3.2")
    options = {"zephyr_base": str(base), "west_cmd": "west -v", "serial_number": "066AFF"}
    with generate_project("zephyr", archive, tmp_path / "p", board="nucleo_h743zi", **options) as project:
        project.build().flash()
    configure, _, flash = calls(tmp_path)
    assert not any("ZEPHYR_MODULES" in word for word in configure[0])  # west knows them
    assert flash[0] == [
        *("west", "-v", "flash", "-d", "build", "-r", "stm32cubeprogrammer", "--conn-modifiers", "sn=066AFF")
    ]
    assert flash[1]["ZEPHYR_BASE"] == str(base)


def test_flash_commands() -> None:
    assert flash_command({}, RUNNERS.format("openocd")) == ["west", "flash", "-d", "build", "-r", "openocd"]
    command = flash_command({"flash_runner": "openocd", "serial_number": "1"}, RUNNERS.format("stm32cubeprogrammer"))
    assert command[-4:] == ["-r", "openocd", "--cmd-pre-init", "adapter serial 1"]
    with pytest.raises(ServerError, match="not for jlink"):
        flash_command({"serial_number": "1"}, RUNNERS.format("jlink"))
    with pytest.raises(ServerError, match="no flash runner"):
        flash_command({}, "")


def test_the_users_own_toolchain_and_modules(tools: Path, tmp_path: Path) -> None:
    assert toolchain({"ZEPHYR_SDK_INSTALL_DIR": "sdk"}) == {}
    assert toolchain({"ZEPHYR_TOOLCHAIN_VARIANT": "zephyr"}) == {}
    base = zephyr_tree(tmp_path, "4.0", "hal/cmsis_6")
    settings = {"board": "mps2/an385", "zephyr_modules": "a;b"}
    assert "-DZEPHYR_MODULES=a;b" in configure_command(base, settings, tmp_path)
    (tools / "arm-none-eabi-gcc").unlink()
    with pytest.raises(ServerError, match="apt-get install gcc-arm-none-eabi"):
        toolchain({})


def test_what_is_missing_is_named(archive: Path, tools: Path, tmp_path: Path) -> None:
    with generate_project("zephyr", archive, tmp_path / "p", board="nucleo_l4r5zi") as project:
        for base, message in {
            None: "where is Zephyr",
            str(tmp_path): "is not Zephyr: it has no VERSION",
            str(zephyr_tree(tmp_path / "tree", "4.2")): "cmake is not installed .*apt-get install cmake ninja-build",
        }.items():
            (tools / "cmake").unlink(missing_ok=True)
            project.options = {} if base is None else {"zephyr_base": base}
            with pytest.raises(ProjectAPIError, match=message):
                project.build()
        with pytest.raises(ProjectAPIError, match="not built yet"):
            project.flash()


def port(device: str, vid: int | None, pid: int | None, serial_number: str | None) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, pid=pid, serial_number=serial_number)


ONE, OTHER = port("ttyACM0", 0x0483, 0x374B, "A"), port("ttyACM1", 0x0483, 0x374B, "B")
BUILT_IN = port("ttyS0", None, None, None)


def test_the_boards_serial_port(monkeypatch: pytest.MonkeyPatch) -> None:
    from serial.tools import list_ports

    def found(ports: list[SimpleNamespace], serial_number: str | None) -> str:
        monkeypatch.setattr(list_ports, "comports", lambda: ports)
        return links.find_port(["0483:374b"], serial_number)

    assert found([BUILT_IN, ONE], None) == "ttyACM0"
    assert found([ONE, OTHER], "B") == "ttyACM1"
    for ports, serial_number, message in (
        ([ONE, OTHER], None, r"2 serial ports have .*: ttyACM0 \(serial number A\), ttyACM1"),
        ([BUILT_IN], None, "no serial port has USB id 0483:374b"),
        ([ONE], "C", "no serial port has serial number C"),
    ):
        with pytest.raises(ServerError, match=message):
            found(ports, serial_number)


def test_talk_over_a_serial_port(archive: Path, tools: Path, tmp_path: Path) -> None:
    """pyserial on a pseudoterminal: bytes of every value, both ways, and a cable that is pulled out."""
    board, terminal = os.openpty()
    elf = tmp_path / "p/build/zephyr/zephyr.elf"
    generate_project("zephyr", archive, tmp_path / "p", board="nucleo_l4r5zi").close()
    elf.parent.mkdir(parents=True)
    elf.touch()
    handler = ZephyrHandler(tmp_path / "p")
    with pytest.raises(ServerError, match="cannot open /nowhere"):
        handler.open_transport({"port": "/nowhere"})
    handler.open_transport({"port": os.ttyname(terminal)})
    every = bytes(range(256))
    handler.write_transport(every, 1.0)
    received = b""
    while len(received) < len(every):
        received += os.read(board, 1000)
    assert received == every
    os.write(board, every)
    received = b""
    while len(received) < len(every):
        received += handler.read_transport(1000, 5.0)
    assert received == every
    os.close(board)
    with pytest.raises(ServerError, match="TransportClosedError"):
        handler.read_transport(1, 5.0)
    handler.close_transport()
    os.close(terminal)


def test_a_cable_pulled_out_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    import serial

    def gone(_: serial.Serial) -> int:
        raise OSError(errno.EIO, "Input/output error")

    board, terminal = os.openpty()
    link = links.SerialLink(os.ttyname(terminal), 115200)
    os.write(board, b"xy")
    monkeypatch.setattr(serial.Serial, "in_waiting", property(gone))
    with pytest.raises(ServerError, match="TransportClosedError"):
        link.read(2, 5.0)
    link.close()
    os.close(board)
    os.close(terminal)


@pytest.mark.skipif("ZEPHYR_BASE" not in os.environ, reason="a real build needs Zephyr: set ZEPHYR_BASE")
@pytest.mark.parametrize("board", [name for name, board in BOARDS.items() if board.qemu])
def test_a_real_build_runs_on_the_emulator(board: str, archive: Path, tmp_path: Path) -> None:
    with generate_project("zephyr", archive, tmp_path / "project", board=board) as project:
        project.build().flash()
        for seed in range(3):
            assert np.array_equal(project.run(toy_inputs(seed))["y"], toy_output(toy_inputs(seed)))
