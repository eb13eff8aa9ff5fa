"""The suite in a virtual machine with a stock Debian kernel, whose camera, GPIO lines and I2C bus are the kernel's own.

Needs root and some minutes the first time, for the guest's root disk (see `tests.guest.image`), and a Python 3.11 whose
environment has what the agent needs: the guest is given those libraries. Nothing in it reaches the network.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.guest import FileDisk, Guest, GuestError, Recipe, image, make_ext4
from tests.guest.image import MASKED, PACKAGES
from tests.guest.python import gather

RECIPE = Recipe(
    packages=(*PACKAGES, "mosquitto"),
    masked=(*MASKED, "mosquitto.service"),
    setup=Path(__file__).with_name("gpio_sim.sh").read_text(encoding="utf-8"),
)
_LIMIT_S = 3600.0
_MB = 1 << 20
_CODE = ("agent", "drivers", "models", "pyproject.toml", "tests/__init__.py", "tests/conftest.py")
_TESTS = ("tests/support", "tests/hil")
_LIBRARIES = (
    *("ai-edge-litert", "cbor2", "numpy", "opencv-python-headless", "paho-mqtt", "pydantic", "pymodbus", "pynmea2"),
    *("pyserial", "smbus2", "tenacity", "gpiod", "pytest"),
)
# The command of an installed agent; /code is the guest's disk with ours, read-only.
_INSTALL = """
set -e
mkdir -p /code
mount -o ro /dev/disk/by-id/virtio-code /code
printf '#!/bin/sh\\nexec python3 -m agent "$@"\\n' >/usr/bin/gateway-agent
chmod 755 /usr/bin/gateway-agent
echo done"""
_RUN = (
    "cd /code && PYTHONPATH=/code PYTHONDONTWRITEBYTECODE=1 exec python3 -u -m tests.hil --kernel --report /root/report"
)


def run_in_a_guest(report: Path) -> int:
    """Prints what the suite says as it goes, and leaves its report in a folder here. Returns its exit code."""
    try:
        base = image(RECIPE)
        with tempfile.TemporaryDirectory(prefix="hil-guest-") as temporary:
            folder = Path(temporary)
            code = folder / "code.img"
            gather(folder / "code", (*_CODE, *_TESTS), _LIBRARIES)
            size_bytes = sum(file.stat().st_size for file in (folder / "code").rglob("*") if file.is_file())
            make_ext4(code, (size_bytes * 5 // 4 // _MB + 64) * _MB, folder / "code")
            with Guest(base, folder / "guest") as guest:
                guest.attach("code", FileDisk(code, read_only=True))
                guest.run(_INSTALL)
                return _run(guest, report)
    except GuestError as exc:
        sys.exit(f"hil: {exc}")


def _run(guest: Guest, report: Path) -> int:
    began_s = time.monotonic()
    with guest.spawn(_RUN, sys.stdout.buffer) as suite:
        try:
            exit_code = suite.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise GuestError(f"the suite has not ended in {_LIMIT_S:g} s\n{guest.log()}") from None
        finally:
            suite.kill()
    if exit_code not in (0, 1):
        raise GuestError(f"the suite ended with {exit_code} after {time.monotonic() - began_s:.0f} s\n{guest.log()}")
    report.mkdir(parents=True, exist_ok=True)
    for name in ("report.md", "report.json"):
        guest.copy_out(f"/root/report/{name}", report)
    print(f"report: {report / 'report.md'}, after {time.monotonic() - began_s:.0f} s in the guest")
    return exit_code
