"""The long run, over every parser.

    python -m tests.fuzz [--inputs 1000000] [--seed N] [--only NAME]
    python -m tests.fuzz --only NAME --again INPUT      one input once more, with the traceback

Exit code 1 if a parser fell over, or took what it must not take. A run is repeated with the seed that it prints, and
each input that was found with the number that is printed beside it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz import agent, cameras, certificates, configs, sensors, updates
from tests.fuzz.run import HEAD, feed


def main() -> int:
    assert __doc__ is not None
    targets = {
        target.name: target
        for part in (sensors, cameras, agent, certificates, configs, updates)
        for target in part.targets()
    }
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=1_000_000, help="all parsers together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="default: another each time")
    parser.add_argument("--only", choices=targets, metavar="NAME", help=f"one of {', '.join(targets)}")
    parser.add_argument("--again", type=int, metavar="INPUT", help="the number of one input; needs --only")
    options = parser.parse_args()
    if options.again is not None:
        if options.only is None:
            parser.error("--again needs --only: the number means another input to each parser")
        print(targets[options.only].once(random.Random(options.again)).name.lower())
        return 0
    chosen = [options.only] if options.only else list(targets)
    each = -(-options.inputs // len(chosen))
    print(f"seed {options.seed}\n{HEAD}", flush=True)
    began_s = time.monotonic()
    accounts = []
    for name in chosen:
        account = feed(targets[name], each, random.Random(f"{options.seed} {name}"))
        accounts.append(account)
        print(account.row(), flush=True)
        for line in account.found:
            print(f"    {line}")
    total = sum(account.inputs for account in accounts)
    seconds = time.monotonic() - began_s
    print(f"{total:,} inputs in {seconds:.0f} s; wrong: taken, and without its checksum or against a promise")
    return 0 if all(account.clean for account in accounts) else 1


if __name__ == "__main__":
    sys.exit(main())
