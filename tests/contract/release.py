"""Keep what a release says, for ever: `python -m tests.contract.release`, once for each release.

Adds the present test vectors, CBOR keys and schema to released/<version>.json under the present version. What is in the
file already stays: payloads that were sent once may lie in somebody's broker. Refuses, with exit code 1, while the
present code does not read every earlier archive as it was meant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agent import __version__
from agent.contract import schema, vectors
from agent.contract.wire import KEYS
from tests.contract import archive


def archived(before: dict[str, Any] | None = None) -> archive.Released:
    """The present contract, and behind it what an earlier archive of the same version has beside that."""
    document = json.loads(vectors.text())
    kept = {
        part: [*document[part], *(old for old in (before or {}).get(part, ()) if old not in document[part])]
        for part in ("messages", "others", "refused", "ledger")
    }
    return {"version": __version__, **kept, "keys": KEYS, "schema": schema.build()}


def text(released: archive.Released) -> str:
    """One payload a line: a diff of an archive shows what came."""
    lines = []
    for part, content in released.items():
        if isinstance(content, list):
            inner = ",\n".join(f"  {_line(entry)}" for entry in content)
            lines.append(f" {_line(part)}: [\n{inner}\n ]")
        else:
            lines.append(f" {_line(part)}: {_line(content)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def release(folder: Path = archive.FOLDER) -> list[str]:
    """Complaints, and nothing written, or none and the archive of this version."""
    path = folder / f"{__version__}.json"
    found = [f"{version}: {words}" for version, old in archive.releases().items() for words in archive.complaints(old)]
    if not found:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        path.write_text(text(archived(before)), encoding="utf-8")
    return found


if __name__ == "__main__":
    problems = release()
    print("\n".join(problems) or f"{__version__} is archived in {archive.FOLDER}")
    sys.exit(1 if problems else 0)
