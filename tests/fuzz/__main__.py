"""The long run.

    python -m tests.fuzz [--inputs 1000000] [--seed N] [--only NAME]

Exit code 1 if a parser fell over, or took values that do not bear their own checksum. A run is repeated with the seed
that it prints.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz.parsers import parsers
from tests.fuzz.run import HEAD, feed


def main() -> int:
    every = parsers()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="all parsers together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", choices=[one.name for one in every], help="this parser alone")
    options = parser.parse_args()
    chosen = [one for one in every if options.only in (None, one.name)]
    print(f"seed {options.seed}\n{HEAD}", flush=True)
    began_s = time.monotonic()
    accounts = []
    for one in chosen:
        account = feed(one, options.inputs // len(chosen), random.Random(f"{options.seed} {one.name}"))
        accounts.append(account)
        print(account.row(), flush=True)
        for data in account.wrong:
            print(f"    wrong: {data!r}")
        for data, error in account.crashes:
            print(f"    crash: {data!r}: {error}")
    total = sum(account.inputs for account in accounts)
    seconds = time.monotonic() - began_s
    print(
        f"{total:,} inputs in {seconds:.0f} s; wrong: values were taken from bytes that do not bear their own checksum"
    )
    return 0 if all(account.clean for account in accounts) else 1


if __name__ == "__main__":
    sys.exit(main())
