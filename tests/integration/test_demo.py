"""The demo as a person runs it, on a drawn recording; what fetches and installs is put aside by stand-ins."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from agent.uplink.settings import Broker
from tests.support.command import eventually
from tests.support.consumer import Consumer
from tests.support.mosquitto import PROGRAM as MOSQUITTO
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.traffic import HEIGHT_PX, WIDTH_PX, traffic_frame, write_traffic

pytest.importorskip("iotcore")
TOP = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of its own, so that nothing is fetched into ours, with an environment that is there already."""
    copy = tmp_path / "checkout"
    shutil.copytree(TOP / "provisioning", copy / "provisioning")
    shutil.copy(TOP / "pyproject.toml", copy)
    venv = copy / ".venv"
    (venv / "bin").mkdir(parents=True)
    for name in ("python", "gateway-agent", "pip"):
        stand_in(venv / "bin" / name, f'exec "{Path(sys.executable).with_name(name)}" "$@"')
    parts = ("provisioning/requirements-demo.lock", "pyproject.toml")
    wanted = hashlib.sha256(b"".join((copy / part).read_bytes() for part in parts)).hexdigest()
    (venv / ".installed").write_text(f"{wanted}  -\n")
    return copy


def stand_in(path: Path, words: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{words}\n")
    path.chmod(0o755)


def environment(checkout: Path, language: str = "C.UTF-8") -> dict[str, str]:
    """Without a network: apt-get and sudo fail as they do on a machine that has none."""
    for name in ("apt-get", "sudo"):
        stand_in(checkout / "stand-ins" / name, f'echo "{name}: stand-in, no network" >&2; exit 100')
    return {**os.environ, "PATH": f"{checkout / 'stand-ins'}:{os.environ['PATH']}", "LC_ALL": language}


def demo(checkout: Path, *arguments: str, language: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "provisioning/demo.sh", *arguments],
        cwd=checkout,
        env=environment(checkout, language),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_recording_becomes_alerts_a_summary_and_a_picture(checkout: Path) -> None:
    write_traffic(checkout / "two cars.mp4", 2)
    run = demo(checkout, "--source", "file:two cars.mp4")
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    arrived = [line for line in lines if " alert/square " in line]
    assert [line.split("#")[1].split(" track")[0] for line in arrived] == [
        "1 crossing line=upright direction=in class=car",
        "2 crossing line=upright direction=out class=car",
    ]
    summary = lines[lines.index("2 alerts arrived") :]
    assert summary[1:3] == ["  line upright, in: 1", "  line upright, out: 1"]
    assert "ledger: nothing missing" in summary
    assert any(line.startswith("first alert ") for line in summary)
    picture = Path(summary[-1].removeprefix("picture: "))
    assert cv2.imread(str(picture)).shape == (HEIGHT_PX, WIDTH_PX, 3)


def test_a_scene_where_nothing_passes_is_exit_1(checkout: Path) -> None:
    writer = cv2.VideoWriter(str(checkout / "idle.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (WIDTH_PX, HEIGHT_PX))
    for _ in range(10):
        writer.write(traffic_frame(0))
    writer.release()
    run = demo(checkout, "--source", "file:idle.mp4", language="vi_VN.UTF-8")
    assert run.returncode == 1
    assert "không có cảnh báo nào đến" in run.stdout


def test_a_broker_that_is_not_there_is_named(checkout: Path) -> None:
    port = free_port()
    write_traffic(checkout / "cars.mp4", 1)
    run = demo(checkout, "--source", "file:cars.mp4", "--broker", f"127.0.0.1:{port}")
    assert run.returncode == 1
    assert f"cannot watch the broker 127.0.0.1:{port}" in run.stdout


def test_a_broker_given_is_the_one_reported_to(checkout: Path, tmp_path: Path) -> None:
    if MOSQUITTO is None:
        pytest.skip("no mosquitto; apt-get install mosquitto")
    write_traffic(checkout / "cars.mp4", 1)
    with Mosquitto(tmp_path / "broker") as broker, Consumer(Broker("127.0.0.1", broker.port)) as ioc:
        run = demo(checkout, "--source", "file:cars.mp4", "--broker", f"127.0.0.1:{broker.port}")
        assert run.returncode == 0, run.stdout + run.stderr
        assert eventually(lambda: len(ioc.kinds("crossing")) == 1)


def test_ctrl_c_ends_everything_the_demo_started(checkout: Path) -> None:
    write_traffic(checkout / "cars.mp4", 2)
    process = subprocess.Popen(
        ["sh", "provisioning/demo.sh", "--source", "file:cars.mp4", "--loop"],
        cwd=checkout,
        env=environment(checkout),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if " alert/square " in line:
                break
        assert len(processes_in(checkout)) == 4  # the demo, its broker, watch, run
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert "ledger: nothing missing" in rest
    assert "Traceback" not in rest
    assert eventually(lambda: processes_in(checkout) == [], timeout_s=10)


def processes_in(folder: Path) -> list[str]:
    """What runs with this working directory: the demo and whatever it started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # gone meanwhile, or not ours to look at
    return found


def test_without_a_clip_it_says_how_to_give_one(checkout: Path) -> None:
    run = demo(checkout)
    assert run.returncode == 1
    assert "no recording: the Debian package opencv-doc could not be fetched" in run.stderr
    assert "sh provisioning/demo.sh --source file:/path/to/clip.mp4" in run.stderr
    assert "stand-in, no network" in (checkout / ".cache" / "clip.log").read_text()


def test_a_damaged_clip_in_the_cache_is_not_played(checkout: Path) -> None:
    (checkout / ".cache").mkdir()
    (checkout / ".cache" / "vtest.avi").write_bytes(b"half of it")
    assert demo(checkout).returncode == 1
    assert not (checkout / ".cache" / "vtest.avi").exists()


@pytest.mark.parametrize(("language", "word"), [("C.UTF-8", "usage:"), ("vi_VN.UTF-8", "cách dùng:")])
def test_the_help_speaks_the_language_of_the_terminal(checkout: Path, language: str, word: str) -> None:
    run = demo(checkout, "--help", language=language)
    assert run.returncode == 0
    assert run.stdout.startswith(word)
    assert all(option in run.stdout for option in ("--source", "--credentials", "--broker", "--loop", "--help"))


@pytest.mark.parametrize("arguments", [["--sauce", "x"], ["--source"], ["clip.mp4"]])
def test_wrong_usage_is_exit_64_and_fetches_nothing(checkout: Path, arguments: list[str]) -> None:
    run = demo(checkout, *arguments)
    assert run.returncode == 64
    assert not (checkout / ".cache").exists()
