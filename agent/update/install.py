"""A release from its wheels: an environment of its own, at the place where it stays (its scripts name that place).

No index, no build, no resolver: what was signed is installed, all of it and nothing else. It must then be what it says
it is, and be able to update: once it is proven, its code does the next update.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agent.errors import UpdateRefused

_TIMEOUT_S = 900.0  # pip on a slow card
PROGRAM = "gateway-agent"


def install_wheels(payload: Path, release: Path, version: str) -> None:
    """Raises UpdateRefused with what the step said that failed."""
    wheels = sorted(str(wheel) for wheel in payload.glob("*.whl"))
    # The pip that was signed with the rest: not every Debian has one to give (ensurepip), and none is as well known.
    with_pip = [wheel for wheel in wheels if Path(wheel).name.startswith("pip-")]
    if len(with_pip) != 1:
        raise UpdateRefused(f"the release holds {len(with_pip)} wheels of pip; wanted the one that installs it")
    # The interpreter under our own environment: ours goes away one day.
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    _run("make its environment", base, "-m", "venv", "--without-pip", release)
    python = release / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    options = ("--no-index", "--no-deps", "--no-compile", "--no-cache-dir")
    _run("install its wheels", *pip, "install", *options, *wheels, PYTHONPATH=with_pip[0])
    _run("find all that it needs", *pip, "check")
    _run("compile it", python, "-m", "compileall", "-q", "-j", "0", release / "lib")
    check_release(release, version)


def check_release(release: Path, version: str) -> None:
    """Raises UpdateRefused for a release that does not start, is another version, or could not update."""
    said = _run("start", release / "bin" / PROGRAM, "--version").strip()
    if said != f"{PROGRAM} {version}":
        raise UpdateRefused(f"it says it is version {version}, and holds {said!r}")
    _run("look at its updates", release / "bin" / PROGRAM, "update", "status")


def _run(what: str, *command: str | Path, **environment: str) -> str:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            cwd="/",
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired as exc:
        raise UpdateRefused(f"the release cannot {what}: not done after {_TIMEOUT_S:.0f} s") from exc
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")[-400:]
        raise UpdateRefused(f"the release cannot {what}: {last}")
    return done.stdout
