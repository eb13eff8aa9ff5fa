"""A disk that says it could not sync: what `put` refused must not turn up later as accepted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.contract.event import Stream
from agent.outbox import Outbox

REPOSITORY = Path(__file__).parents[2]

# Stands between SQLite and the C library: while the file named in FAIL_SYNC exists, no sync succeeds.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_or_fail(const char *name, int fd) {
    const char *flag = getenv("FAIL_SYNC");
    if (flag && access(flag, F_OK) == 0) { errno = EIO; return -1; }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}
int fsync(int fd) { return sync_or_fail("fsync", fd); }
int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }
"""

SCRIPT = """
import sys
from pathlib import Path
from agent.errors import EventStoreError
from agent.outbox import Outbox
from tests.support.events import crossing

flag, outbox = Path(sys.argv[1]), Outbox(Path(sys.argv[2]))
outbox.put(crossing(1))
flag.touch()
for track in (2, 3):
    try:
        outbox.put(crossing(track))
    except EventStoreError as exc:
        print("refused", track, exc)
flag.unlink()
outbox.put(crossing(4))
outbox.close()
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to build the shim")
def test_what_was_refused_for_a_failed_sync_is_not_stored(tmp_path: Path) -> None:
    source, shim, flag, path = (tmp_path / name for name in ("shim.c", "shim.so", "flag", "outbox.db"))
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(shim), "FAIL_SYNC": str(flag)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(flag), str(path)],
        env=environment,
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert [line.split(" ")[:2] for line in done.stdout.splitlines()] == [["refused", "2"], ["refused", "3"]]
    assert "disk I/O error" in done.stdout
    outbox = Outbox(path)
    rows = [(waiting.row.seq, json.loads(waiting.row.body)["track"]) for waiting in outbox.peek(Stream.COUNT)]
    outbox.close()
    assert rows == [(1, 1), (2, 4)]
