"""A file system so small that it can be filled: tmpfs, or ext4 in a file. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(kind: str, folder: Path, size_mb: int) -> Iterator[Path]:
    """Mounted below folder for the time of the with block; skips the test where nothing can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = folder / "disk"
    mounted.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(mounted)]
    else:
        image = folder / "image"
        image.touch()
        os.truncate(image, size_mb << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        command = ["mount", "-o", "loop", str(image), str(mounted)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"cannot mount {kind} here")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
