"""Weeks in front of a camera, in minutes: memory stays where it is, and no number is used again within a day.

    python -m tests.soak [--days 14] [--seed 1]

The agent is started anew some times on the first day, then runs without a break. Exit code 1 if what it holds grows
from the end of the second day to the last, if its memory (RSS) grows by more than is printed beside it, or if it said
what cannot be. The detector is a script; everything behind it is the real thing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.sizes import grown
from tests.soak.soak import Soak

RESTARTS_H = (1, 2, 3, 7, 12, 18)
RSS_GROWTH_MB = 8.0  # of an allocator that has seen every kind of day by the end of the second
GROWTH, AT_LEAST = 0.25, 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Weeks in front of a camera.")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.days < 3:
        parser.error("found less than three days; wanted three or more: what has settled by the second is compared")
    logging.disable(logging.WARNING)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(Path(folder), seed=options.seed)
        print(f"{'day':>3} {'frames':>8} {'tracks':>8} {'said':>7} {'RSS MB':>7} {'entries':>9}", flush=True)
        for hour in range(1, 24 * options.days + 1):
            if hour in RESTARTS_H:
                soak.start()
            soak.hour(shrinks=hour <= 24)
            if hour % 24 == 0:
                held = soak.measure()
                said = sum(soak.books.kinds.values())
                row = f"{hour // 24:3} {soak.frames:8} {soak.books.tracks:8} {said:7} {held.rss_mb:7.1f}"
                print(f"{row} {held.entries.total():9}", flush=True)
    settled, last = soak.held[1], soak.held[-1]
    wrong = soak.books.wrong + grown(settled.entries, last.entries, by=GROWTH, at_least=AT_LEAST)
    growth_mb = last.rss_mb - settled.rss_mb
    if growth_mb > RSS_GROWTH_MB:
        wrong.append(f"RSS grew by {growth_mb:.1f} MB, wanted at most {RSS_GROWTH_MB:.0f}")
    print("said: " + ", ".join(f"{kind} {n}" for kind, n in sorted(soak.books.kinds.items())))
    print(f"RSS from day 2 to day {options.days}: {growth_mb:+.1f} MB; took {time.monotonic() - began_s:.0f} s")
    for line in wrong[:20]:
        print(f"WRONG {line}")
    print(f"{len(wrong)} wrong" if wrong else "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
