"""Boot a Debian with the real unit and the real agent, and let go wrong what can go wrong.

    python -m tests.systemd [arguments for pytest]      as root; some minutes, and some more the first time

Needs systemd-nspawn, debootstrap and mosquitto:
    apt-get install --no-install-recommends systemd-container debootstrap mosquitto
Exit code 0 if all is well, 1 if not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.guest.tools import GuestError
from tests.systemd.root import prepared, why_not


def main() -> int:
    if (reason := why_not()) is not None:
        print(f"python -m tests.systemd: {reason}", file=sys.stderr)
        return 1
    try:
        prepared()
    except GuestError as exc:
        print(f"python -m tests.systemd: {exc}", file=sys.stderr)
        return 1
    return int(pytest.main(["-m", "slow", "-v", str(Path(__file__).parent), *sys.argv[1:]]) != 0)


if __name__ == "__main__":
    sys.exit(main())
