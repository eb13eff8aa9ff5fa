"""python -m tests.provision: the whole of it, with what provision.sh says and how long it took to the first alert."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.systemd.root import why_not

if __name__ == "__main__":
    if (reason := why_not()) is not None:
        sys.exit(reason)
    sys.exit(pytest.main(["-x", "-v", "-m", "slow", str(Path(__file__).parent), *sys.argv[1:]]))
