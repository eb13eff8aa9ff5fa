"""Try everything that a profile names, and write down what came of it.

    python -m tests.hil --profile my-box.toml [--report DIR]     a board and what is connected to it
    python -m tests.hil --here                                   servers, terminals and files of this machine
    python -m tests.hil --guest                                  a virtual machine with the kernel's own devices

Exit code 0 if everything that was tried is fine, 1 if not, 78 for a wrong profile. Stop the service before it
(`systemctl stop gateway-agent`): two programs cannot have one device. Its outbox is left alone; alerts of the suite go
to a mosquitto of its own (`apt-get install mosquitto`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import ConfigError
from tests.hil.profile import ENVIRONMENT, load
from tests.hil.words import say

_EXIT_CONFIG = 78
_REPOSITORY = Path(__file__).parents[2]
_RIG_ENDS_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hil", description="Try what is connected, and report.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--profile", type=Path, metavar="FILE", help="a gateway.toml, with a table [hil] if you like")
    where.add_argument("--here", action="store_true", help="against servers, terminals and files of this machine")
    where.add_argument("--guest", action="store_true", help="in a virtual machine, against the kernel's own devices")
    where.add_argument("--kernel", action="store_true", help="against the kernel's own devices here; what --guest runs")
    parser.add_argument("--report", type=Path, metavar="DIR", help="where it is written (default: ./hil-<time>)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder = options.report or Path(time.strftime("hil-%Y%m%d-%H%M%S"))
    if options.guest:
        from tests.hil.guest import run_in_a_guest

        return run_in_a_guest(folder)
    if options.profile:
        return run(options.profile, folder)
    with _rig(kernel=options.kernel) as profile:
        return run(profile, folder)


def run(path: Path, folder: Path) -> int:
    """The suite against one profile."""
    from tests.hil.report import Report

    try:
        profile = load(path)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return _EXIT_CONFIG
    os.environ[ENVIRONMENT] = str(path.resolve())
    terminal = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")  # pytest takes stdout away
    report = Report(profile, terminal)
    here = _REPOSITORY / "tests" / "hil"
    # Drivers first, one by one; then all of them at once under the agent.
    files = [str(here / f"test_{name}.py") for name in ("verbs", "cameras", "sensors", "box")]
    mine = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
    code = pytest.main(["-m", "hil", "--rootdir", str(_REPOSITORY), *mine, *files], plugins=[report])
    with terminal:
        written = report.write(folder)
        print(f"\n{report.summary()} {say('written', path=written)}", file=terminal)
    return 0 if code == pytest.ExitCode.OK and not report.problems else 1


@contextmanager
def _rig(*, kernel: bool) -> Iterator[Path]:
    """The rig as a process of its own, as devices are something apart. Gives its profile."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="hil-", dir=memory if memory.is_dir() else None) as temporary:
        folder = Path(temporary) / "rig"
        command = [sys.executable, "-m", "tests.hil.rig", str(folder), *(["--kernel"] if kernel else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_REPOSITORY) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    sys.exit(f"the rig did not start: {' '.join(command)}")
                os.environ.update(json.loads(line))
                yield folder / "profile.toml"
            finally:
                process.terminate()
                try:
                    process.wait(_RIG_ENDS_S)
                finally:
                    process.kill()


if __name__ == "__main__":
    sys.exit(main())
