"""`diagnostics`: what `gateway-agent doctor --bundle` writes, sent on `…/diagnostics/<id>`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from agent.commands.desk import AtOnce
from agent.commands.request import Request
from agent.contract.event import Evidence
from agent.errors import CommandFailed

_WITHIN_S = 180.0


class Bundles(Protocol):
    """What is needed of the store of bundles."""

    def put(self, content: bytes) -> Evidence | None: ...
    def request(self, evidence_id: str) -> int | None: ...


def diagnostics(config: Path, bundles: Bundles) -> AtOnce:
    def make(request: Request) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="gateway-agent-diagnostics-") as folder:
            content = _doctor(config, Path(folder) / "bundle.tar.gz")
        stored = bundles.put(content)
        if stored is None:
            raise CommandFailed("the disk does not take the bundle; is it full?")
        bundles.request(stored.id)
        return {"diagnostics": stored.id, "bytes": stored.bytes, "sha256": stored.sha256}

    return AtOnce(make)


def _doctor(config: Path, bundle: Path) -> bytes:
    """In a process of its own: whatever a look at a sick box does, the agent goes on. Raises CommandFailed."""
    command = [sys.executable, "-m", "agent", "doctor", "--config", str(config), "--json", "--bundle", str(bundle)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
        return bundle.read_bytes()
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed(f"the doctor did not come to an end in {_WITHIN_S:g} s") from exc
    except OSError as exc:
        words = done.stderr.strip().splitlines()[-1:] or [str(exc)]
        raise CommandFailed(f"the doctor left no bundle: {words[0]}") from exc
