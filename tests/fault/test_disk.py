"""The small disk of the fault suite: what it does must not depend on who else works on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fault import disk


@pytest.mark.skipif(disk.why_not() is not None, reason=str(disk.why_not()))
def test_a_repaired_disk_is_whole_though_somebody_holds_the_one_that_broke(tmp_path: Path) -> None:
    with disk.Disk(tmp_path) as small:
        if not small.real:
            pytest.skip("cannot mount a file here")
        (small.folder / "kept").write_text("before")
        subprocess.run(["sync", "-f", str(small.folder)], check=True)
        # A mount namespace of its own, and with it another mount of this disk that nobody else can undo.
        held = ["unshare", "--mount", "sh", "-c", "echo ready; exec sleep 600"]
        with subprocess.Popen(held, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"ready\n"
                small.break_down()
                with pytest.raises(OSError, match="Read-only file system"):
                    (small.folder / "refused").write_text("while broken")
                small.repair()
                (small.folder / "new").write_text("after")
                assert (small.folder / "kept").read_text() == "before"
            finally:
                holder.kill()
