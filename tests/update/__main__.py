"""python -m tests.update: the whole matrix; exit code 0 if every run ended well."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.update.matrix import BROKEN, GOOD, campaign
from tests.update.rig import Rig


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.update", description=__doc__)
    parser.add_argument("--kind", action="append", choices=(*GOOD, *BROKEN), help="this kind of release (default: all)")
    parser.add_argument("--full", action="store_true", help="each step both ways: the updater alone, and a power cut")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth kill")
    parser.add_argument("--keep", action="store_true", help="leave the box's folder for a look")
    args = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="gw-update-"))
    try:
        with Rig(top) as rig:
            figures = campaign(rig, tuple(args.kind or (*GOOD, *BROKEN)), full=args.full, every=args.every, say=_say)
    finally:
        if args.keep:
            print(f"the box is in {top}")
        else:
            shutil.rmtree(top, ignore_errors=True)
    print("\n".join(figures.lines()))
    return 1 if figures.failed else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
