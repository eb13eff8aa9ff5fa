"""The unit tests and the bundled packs on an emulated arm64 board.

    python -m tests.arm64                      both: the unit tests on a Raspberry Pi 5's processor, the packs on each
    python -m tests.arm64 --only packs         a minute
    python -m tests.arm64 tests/unit/drivers   these tests alone

Debian 12 for arm64 with the wheels of the lock file, run by QEMU; made the first time, as root. Exit code 1 if a test
failed, or if a pack sees something else than on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.arm64.machine import BOARDS, Board, start
from tests.arm64.root import TOP, prepared
from tests.guest.tools import GuestError
from tests.support.sight import SURE_SCORE, difference, unmatched

_SCORE, _OVERLAP = 0.1, 0.9  # of an object on both machines
_PACKS_S = 300.0
LEFT_OUT = {
    "tests/unit/drivers/inventory/test_inventory.py::test_a_file_in_the_place_of_a_gpio_chip_is_told": (
        "the emulator answers an ioctl that it does not know by itself, with another error than the kernel"
    ),
}
"""Unit tests that are not run here, and why."""


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.arm64", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", nargs="*", default=["tests/unit"], help="files or folders (default: tests/unit)")
    parser.add_argument("--only", choices=("packs", "tests"), help="one part alone")
    parser.add_argument(
        "--board", choices=[board.name for board in BOARDS], default=BOARDS[-1].name, help="for the unit tests"
    )
    parser.add_argument("--jobs", type=int, default=2, help="parts of the tests at once (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=180, help="for the tests, at most (default: %(default)s)")
    options = parser.parse_args()
    try:
        folder = prepared()
        good = True
        if options.only != "tests":
            here = _seen_here()
            for board in BOARDS:
                good = _packs(folder, board, here) and good
        if options.only != "packs":
            board = next(board for board in BOARDS if board.name == options.board)
            good = _tests(folder, board, options.tests, options.jobs, options.minutes * 60) and good
    except GuestError as exc:
        print(f"tests.arm64: {exc}", file=sys.stderr)
        return 1
    return 0 if good else 1


# ---- packs -----------------------------------------------------------------------------------------------------------


def _seen_here() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.arm64.detect"], cwd=TOP, stdout=subprocess.PIPE, text=True, check=True
    )
    return _last_line(done.stdout)


def _packs(folder: Path, board: Board, here: dict[str, Any]) -> bool:
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        code = _finish(start(folder, board, ["-m", "tests.arm64.detect"], output), _PACKS_S)
        output.seek(0)
        text = output.read()
    if code != 0:
        raise GuestError(f"{board.name}: the packs' program ended with {code}\n{text[-2000:]}")
    there = _last_line(text)
    print(f"{board.name} ({board.cpu}, {there['runtime']}, {time.monotonic() - began_s:.0f} s with start):")
    if there["picture"] != here["picture"]:
        print("  PROBLEM: its picture is not the same, byte for byte")
        return False
    good = True
    for pack, seen in there["seen"].items():
        ours = here["seen"][pack]
        missed = unmatched(ours, seen, score=_SCORE, least_overlap=_OVERLAP)
        invented = unmatched(seen, ours, score=_SCORE, least_overlap=_OVERLAP)
        if missed or invented:
            good = False
            print(f"  {pack}: PROBLEM: only on {here['machine']}: {missed}; only on {there['machine']}: {invented}")
            continue
        score, least_overlap = difference(ours, seen)
        sure = sum(one[1] >= SURE_SCORE for one in ours)
        print(
            f"  {pack}: the same {sure} objects of {SURE_SCORE} and more as on {here['machine']}; scores differ by at "
            f"most {score:.3f} (allowed {_SCORE}), boxes overlap by at least {least_overlap:.3f} (allowed {_OVERLAP})"
        )
    return good


def _last_line(text: str) -> dict[str, Any]:
    """Libraries may have said something before."""
    return json.loads(text.strip().splitlines()[-1])  # type: ignore[no-any-return]


# ---- tests -----------------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """A share of the test files, run by one process."""

    files: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    problem: str | None = None


def _tests(folder: Path, board: Board, tests: Sequence[str], jobs: int, timeout_s: float) -> bool:
    files = sorted({str(file) for name in tests for file in _files(name)})
    if not files:
        raise GuestError(f"no test_*.py in {' '.join(tests)}")
    print(f"{len(files)} files of unit tests on {board.name} ({board.cpu}); left out:")
    for name, why in LEFT_OUT.items():
        print(f"  {name}: {why}")
    sys.stdout.flush()
    parts = [Part(files[number::jobs]) for number in range(min(jobs, len(files)))]
    began_s = time.monotonic()
    threads = [threading.Thread(target=_run, args=(folder, board, part, n, timeout_s)) for n, part in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = sum((part.counts for part in parts), Counter[str]())
    for part in parts:
        for name in part.failed:
            print(f"FAILED {name}")
        if part.problem:
            print(part.problem)
    print(
        f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped, {len(LEFT_OUT)} left out, "
        f"in {(time.monotonic() - began_s) / 60:.0f} min"
    )
    return counts["passed"] > 0 and not counts["failed"] and not any(part.problem for part in parts)


def _files(name: str) -> list[Path]:
    path = TOP / name
    found = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
    return [file.relative_to(TOP) for file in found]


def _run(folder: Path, board: Board, part: Part, number: int, timeout_s: float) -> None:
    report = Path("var/tmp") / f"unit-{number}.xml"
    log = folder / f"unit-{number}.log"
    (folder / "root" / report).unlink(missing_ok=True)
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml=/{report}", "-m", "not hil and not slow"]
    arguments += [f"--deselect={name}" for name in LEFT_OUT]
    try:
        with log.open("w", encoding="utf-8") as output:
            code = _finish(start(folder, board, [*arguments, *part.files], output), timeout_s)
    except GuestError as exc:
        part.problem = f"part {number}: {exc}: {log}"
        return
    try:
        suite = ElementTree.parse(folder / "root" / report)
    except (OSError, ElementTree.ParseError):
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        part.problem = f"part {number} ended with {code}, without a report: {log}\n{said}"
        return
    for case in suite.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            part.counts["failed"] += 1
            part.failed.append(f"{case.get('classname')}::{case.get('name')} ({log})")
        else:
            part.counts["skipped" if case.find("skipped") is not None else "passed"] += 1
    if code not in (0, 1):
        part.problem = f"part {number} ended with {code}: {log}"


def _finish(process: subprocess.Popen[str], timeout_s: float) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired as exc:
        raise GuestError(f"not done in {timeout_s / 60:.0f} min") from exc
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
