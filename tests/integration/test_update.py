"""Updates from the maker's table to a box: keys, real wheels in a real environment, a stick, the verb itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.errors import UpdateRefused
from agent.update import make
from agent.update.install import install_wheels
from agent.update.machine import Machine
from agent.update.manifest import this_machine, this_python
from agent.update.proof import Pulse, write_pulse
from agent.update.service import ServiceStatus
from agent.update.slots import link_target
from tests.support.command import gateway_agent
from tests.support.updates import Folders
from tests.support.wheels import pip_wheel, write_wheel

CONFIG = '[box]\nsite = "cua-bac"\nid = "gw-01"\n[[camera]]\nid = "cam"\nsource = "rtsp://10.0.0.1/s"\n'
PROGRAM = """
import sys
import needed_library

def main():
    print("gateway-agent {version}" if "--version" in sys.argv else needed_library.WORD)
"""


def release_wheels(folder: Path, version: str, *, with_library: bool = True, says: str = "") -> Path:
    folder.mkdir()
    shutil.copy(pip_wheel(), folder)
    program = PROGRAM.format(version=says or version)
    write_wheel(
        folder,
        "gateway_agent",
        version,
        {"little_agent.py": program.encode()},
        needs="needed_library",
        script="gateway-agent = little_agent:main",
    )
    if with_library:
        write_wheel(folder, "needed_library", "1.0", {"needed_library.py": b"WORD = 'fine'\n"})
    return folder


class Signers:
    """Two people, each with a key of their own, and the trust file that believes both."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "word").write_text("a passphrase\n")
        tables = []
        for name in ("anh", "binh"):
            self.make("keygen", name, "--folder", folder, "--passphrase-file", folder / "word")
            tables.append("[key." + capsys.readouterr().out.split("[key.")[1])
        thresholds = "[threshold]\nrelease = 2\npack = 2\nconfig = 1\ntrust = 2\n"
        self.trust = "version = 1\nexpires = 2100-01-01T00:00:00Z\n" + thresholds + "".join(tables)

    def make(self, *arguments: str | Path) -> None:
        assert make.main([str(argument) for argument in arguments]) == 0

    def release(self, wheels: Path, out: Path) -> Path:
        board = ["--machine", this_machine(), "--python", this_python()]
        self.make("release", wheels, *board, "--out", out)
        for name in ("anh", "binh"):
            self.make("sign", out, "--key", self.folder / f"{name}.key", "--passphrase-file", self.folder / "word")
        return out


class Box(Folders):
    """Its service is always well."""

    def __init__(self, top: Path, trust: str) -> None:
        super().__init__(top)
        self.set_up(config=CONFIG, trust=trust)
        self.clock, self.pid = SystemClock(), 0

    def restart(self) -> None:
        self.pid += 1

    def reload(self, changed: object, enable: object) -> None:
        raise AssertionError("this box was set up without units")

    def status(self) -> ServiceStatus:
        version = Path(os.readlink(self.places.current)).name
        write_pulse(self.places.pulse, Pulse(self.clock.boot_id, self.clock.mono_s(), self.pid, version, None, 99, {}))
        return ServiceStatus(failed=False, restarts=0)

    def machine(self) -> Machine:
        return Machine(self.places, agent="0.1.0", clock=self.clock, service=self, hold_s=0.0, poll_s=0.0)


@pytest.fixture
def signers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Signers:
    return Signers(tmp_path / "table", capsys)


def test_from_keys_and_wheels_to_a_release_that_runs(tmp_path: Path, signers: Signers) -> None:
    box = Box(tmp_path / "box", signers.trust)
    file = signers.release(release_wheels(tmp_path / "wheels", "0.2.0"), tmp_path / "gateway-update-0.2.0.gwu")
    report = box.machine().apply(file)
    assert (report.result, report.version, report.previous) == ("confirmed", "0.2.0", "0.1.0")
    assert link_target(box.places.current) == "releases/0.2.0"
    program = box.places.current / "bin" / "gateway-agent"
    said = subprocess.run([program, "update", "status"], capture_output=True, text=True, check=True, cwd="/")
    assert said.stdout == "fine\n"
    # It stands on the system's Python, not on the environment of the release that made it, which goes away one day.
    python = Path(os.path.realpath(box.places.current / "bin" / "python"))
    assert not python.is_relative_to(sys.prefix)
    assert (box.places.releases / "0.2.0" / "lib").is_dir()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        pytest.param({"with_library": False}, "cannot find all that it needs", id="a library is missing"),
        pytest.param(
            {"says": "0.3.0"}, "says it is version 0.2.0, and holds 'gateway-agent 0.3.0'", id="wrong version"
        ),
    ],
)
def test_a_release_that_is_not_whole_is_not_installed(tmp_path: Path, wrong: dict[str, object], why: str) -> None:
    wheels = release_wheels(tmp_path / "wheels", "0.2.0", **wrong)  # type: ignore[arg-type]
    with pytest.raises(UpdateRefused, match=why):
        install_wheels(wheels, tmp_path / "release", "0.2.0")


def test_a_release_without_the_pip_that_installs_it_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheels = release_wheels(tmp_path / "wheels", "0.2.0")
    (wheels / pip_wheel().name).unlink()
    board = ["--machine", this_machine(), "--python", this_python()]
    assert make.main(["release", str(wheels), *board, "--out", str(tmp_path / "u.gwu")]) == 1
    assert "wanted one wheel of pip as well" in capsys.readouterr().err
    with pytest.raises(UpdateRefused, match="0 wheels of pip"):
        install_wheels(wheels, tmp_path / "release", "0.2.0")


def test_the_verb_tells_what_is_there_and_what_it_thinks_of_a_file(tmp_path: Path, signers: Signers) -> None:
    box = Box(tmp_path / "box", signers.trust)
    file = signers.release(release_wheels(tmp_path / "wheels", "0.2.0"), tmp_path / "gateway-update-0.2.0.gwu")
    places = {
        "GATEWAY_AGENT_ROOT": str(box.places.root),
        "STATE_DIRECTORY": str(box.places.var),
        "RUNTIME_DIRECTORY": str(box.places.run),
    }
    options = ["update", "--config", box.places.config]
    status = gateway_agent(*options, "status", **places)
    assert (status.stdout, status.returncode) == ("release 0.1.0: runs, and has proven itself\n", 0)
    fine = gateway_agent(*options, "verify", file, **places)
    first = "gateway-update-0.2.0.gwu: fine, release gateway-agent 0.2.0, signed by anh, binh"
    assert (fine.stdout.splitlines()[0], fine.returncode) == (first, 0)
    file.write_bytes(file.read_bytes()[:-15000])
    bad = gateway_agent(*options, "verify", file, **places, LC_ALL="vi_VN.UTF-8")
    assert "TỪ CHỐI" in bad.stdout
    assert bad.returncode == 1


def test_a_signature_needs_the_passphrase_and_a_whole_file(
    tmp_path: Path, signers: Signers, capsys: pytest.CaptureFixture[str]
) -> None:
    file = signers.release(release_wheels(tmp_path / "wheels", "0.2.0"), tmp_path / "u.gwu")
    (tmp_path / "wrong").write_text("another\n")
    key = str(signers.folder / "anh.key")
    assert make.main(["sign", str(file), "--key", key, "--passphrase-file", str(tmp_path / "wrong")]) == 1
    assert "key" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-15000])
    assert make.main(["sign", str(file), "--key", key, "--passphrase-file", str(signers.folder / "word")]) == 1
    assert "cut off" in capsys.readouterr().err
    assert (signers.folder / "anh.key").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mkfs.ext4") is None, reason="mounts a stick: root, e2fsprogs")
def test_files_are_fetched_from_a_stick_and_from_nowhere_else_on_it(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.mkdir()
    (content / "gateway-update-1.gwu").write_bytes(b"one")
    (content / "gateway-update-2.gwu").symlink_to("/etc/shadow")
    (content / "holiday.gwu").write_bytes(b"not ours")
    stick = tmp_path / "stick.img"
    with stick.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", content, stick], check=True)
    root = tmp_path / "opt"
    (root / "update").mkdir(parents=True)
    done = gateway_agent("update", "stick", stick, GATEWAY_AGENT_ROOT=str(root), STATE_DIRECTORY=str(tmp_path / "var"))
    if "loop" in done.stderr or "permitted" in done.stderr:
        pytest.skip(f"this machine mounts no image: {done.stderr}")
    assert done.returncode == 0, done.stderr
    inbox = root / "update" / "inbox"
    assert {path.name: path.read_bytes() for path in inbox.iterdir()} == {"gateway-update-1.gwu": b"one"}
    assert "gateway-update-2.gwu: REFUSED" in done.stderr
    assert str(stick) not in Path("/proc/mounts").read_text()
