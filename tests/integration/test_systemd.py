"""The units as systemd reads them, without a boot: every key known, the sandbox as tight as it is said to be, every
file in the wheel. What they do in a booted Debian is in tests/systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
UNITS = TOP / "systemd"
CURRENT = "opt/gateway-agent/current"
ANALYZE = shutil.which("systemd-analyze")
NAMES = sorted(path.name for path in UNITS.iterdir() if path.suffix in (".service", ".timer", ".path"))
# systemd's own figure, times ten. The update switches releases, as root: it has a bound of its own.
MOST_EXPOSED = 15
AS_ROOT = {"gateway-agent-update.service", "gateway-agent-rollback.service", "gateway-agent-stick@.service"}
MOST_EXPOSED_AS_ROOT = 50

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze; apt-get install systemd")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the units, and what they start, where they expect it."""
    folder = tmp_path_factory.mktemp("root")
    share = folder / CURRENT / "share/gateway-agent/systemd"
    share.parent.mkdir(parents=True)
    shutil.copytree(UNITS, share)
    for program in (f"{CURRENT}/bin/gateway-agent", "opt/gateway-agent/proven/bin/gateway-agent", "bin/sh"):
        (folder / program).parent.mkdir(parents=True, exist_ok=True)
        (folder / program).write_text("#!/bin/sh\n")
        (folder / program).chmod(0o755)
    units = folder / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in NAMES:
        shutil.copy2(UNITS / name, units)
    shutil.copytree("/usr/lib/systemd/system", folder / "usr/lib/systemd/system", symlinks=True)
    return folder


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        [ANALYZE, *arguments], capture_output=True, text=True, env=environment, timeout=60, check=False
    )


@needs_systemd
@pytest.mark.parametrize("name", NAMES)
def test_systemd_understands_every_line(root: Path, name: str) -> None:
    """A misspelt key is only a warning, and then not what was meant: nothing may be said at all."""
    done = analyze("verify", "--man=no", f"--root={root}", name)
    assert (done.stderr, done.returncode) == ("", 0)


@needs_systemd
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".service")])
def test_the_sandbox_leaves_little_exposed(name: str) -> None:
    most = MOST_EXPOSED_AS_ROOT if name in AS_ROOT else MOST_EXPOSED
    done = analyze("security", "--offline=true", f"--threshold={most}", UNITS / name)
    assert done.returncode == 0, done.stdout + done.stderr


def keys(name: str) -> dict[str, list[str]]:
    """Of a unit, with all values in their order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_no_crash_and_no_number_of_them_leaves_the_box_dead() -> None:
    service = keys("gateway-agent.service")
    assert service["StartLimitIntervalSec"] == ["0"]
    assert service["Restart"] == ["always"]
    assert service["RestartPreventExitStatus"] == ["64 78"]


def test_the_devices_of_the_self_test_are_the_agents() -> None:
    agent, selftest = keys("gateway-agent.service"), keys("gateway-agent-selftest.service")
    assert selftest["DeviceAllow"] == agent["DeviceAllow"]
    assert selftest["DevicePolicy"] == agent["DevicePolicy"] == ["closed"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".timer")])
def test_a_timer_spreads_a_citys_boxes_and_makes_up_for_what_was_missed(name: str) -> None:
    timer = keys(name)
    assert timer["Persistent"] == ["yes"]
    assert "RandomizedDelaySec" in timer
    assert name.replace(".timer", ".service") in NAMES


def test_the_readme_speaks_of_every_file() -> None:
    said = set(re.findall(r"`([a-z@-]+\.[a-z]+)`", (UNITS / "README.md").read_text(encoding="utf-8")))
    assert {path.name for path in UNITS.iterdir()} - {"README.md"} <= said


def test_every_file_is_in_the_wheel(tmp_path: Path) -> None:
    """Where an installation finds them: share/gateway-agent/systemd of the environment."""
    source = tmp_path / "source"  # building writes beside the sources
    for name in ("agent", "drivers", "models", "systemd"):
        shutil.copytree(TOP / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(TOP / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", wheel], check=True, capture_output=True, text=True, timeout=60
    )
    packed = set(re.findall(r"data/share/gateway-agent/systemd/(\S+)", listing.stdout))
    assert packed == {path.name for path in UNITS.iterdir()}
