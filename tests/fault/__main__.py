"""The long run: faults drawn at random against one box, and a table at the end.

    python -m tests.fault --minutes 30 [--seed N] [--only NAME] [--folder DIR]

Exit code 1 if a single event was lost, came out of order or came twice. A run is repeated with the seed that it prints;
the processor's timing still differs. As root all faults are tried, without it those that need no file system and no
network of their own.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fault.campaign import Campaign
from tests.fault.faults import FAULTS
from tests.fault.rig import Rig

_ALSO_KILL = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description="What no fault may do: lose an event.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", choices=[fault.name for fault in FAULTS], help="this fault alone, again and again")
    parser.add_argument("--folder", type=Path, help="a new folder for everything, kept afterwards (default: in /tmp)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fault-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}; files in {folder}", flush=True)
    faults = [fault for fault in FAULTS if options.only in (None, fault.name)]
    for fault in faults:
        if (why := fault.why_not()) is not None:
            print(f"left out: {fault.name}: {why}")
    faults = [fault for fault in faults if fault.why_not() is None]
    if not faults:
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is mounted is unmounted
    end_s = time.monotonic() + options.minutes * 60
    with Rig(folder, options.seed) as rig:
        campaign = Campaign(rig, also_kill=_ALSO_KILL)
        round_: list[type] = []
        while time.monotonic() < end_s:
            if not round_:  # each once before one comes a second time, so that none is left out by chance
                round_ = rig.chance.sample(faults, len(faults))
            fault = round_.pop()()
            told = len(campaign.notes)
            once = campaign.inflict(fault)
            print(f"{time.strftime('%H:%M:%S')} {fault.name} {once.silence_s:.1f} s", flush=True)
            # At once: a run that breaks off has no table.
            counts = (f"lost {once.lost}, out of order {once.out_of_order}, twice {once.duplicates}",)
            for line in (*(() if once.clean else counts), *campaign.notes[told:]):
                print(f"  <-- NOT CLEAN: {line}", flush=True)
        print(f"\nseed {options.seed}, {options.minutes:g} minutes, box killed {rig.kills} times\n")
        print(campaign.table())
        for line in (*campaign.notes, *campaign.holes()):
            print(line)
        return 0 if campaign.clean else 1


if __name__ == "__main__":
    sys.exit(main())
