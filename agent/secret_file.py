"""Files that hold a password or a key: only the service's own user should be able to read them.

One that others may read is used all the same, with a warning: a box that has worked for years must not stop sending
because of an update. `gateway-agent doctor` calls it a problem, and says what to do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

_log = logging.getLogger(__name__)

# systemd keeps credentials there in memory, for the service alone; their mode shows the mask of an access list.
_CREDENTIALS = Path("/run/credentials")
_told: set[Path] = set()


def open_mode(path: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The mode, "0644", if users besides the owner may read or write it; None for a file that is well kept.

    Raises OSError if it is not there.
    """
    mode = path.stat().st_mode & 0o777
    ours = [_CREDENTIALS, *(Path(folder) for folder in [environment.get("CREDENTIALS_DIRECTORY")] if folder)]
    if not mode & 0o077 or any(path.resolve().is_relative_to(folder) for folder in ours):
        return None
    return f"{mode:04o}"


def warn_if_open(path: Path) -> None:
    """To be called where a secret is read; a file is told once in a run. Raises OSError if it is not there."""
    mode = open_mode(path)
    if mode is not None and path not in _told:
        _told.add(path)
        _log.warning(
            "%s: mode %s, so other users of this box may read it; wanted 0600: sudo chown gateway-agent %s; "
            "sudo chmod 600 %s",
            *(path, mode, path, path),
        )
