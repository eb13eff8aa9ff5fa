"""One thing that was found, and the piece of configuration that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class Found:
    """what, notes: for people, one line each. table, lines: of TOML to paste; no lines if there is nothing to paste."""

    what: str
    notes: tuple[str, ...] = ()
    table: str = "[[sensor]]"
    lines: tuple[str, ...] = ()

    def stanza(self, name: str = "") -> str:
        """name: the id to write, for tables that have one."""
        said = "".join(f"# {line}\n" for line in (self.what, *self.notes))
        if not self.lines:
            return said
        identity = f'id = "{name}"\n' if name else ""
        return f"{said}{self.table}\n{identity}" + "".join(f"{line}\n" for line in self.lines)


def word(path: Path) -> str:
    """The one line in a file of the kernel's, "" if it cannot be read. Devices choose some of them: as plain text."""
    try:
        raw = path.read_bytes()[:400]
    except OSError:
        return ""
    text = raw.split(b"\0")[0].decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable())[:_LONGEST_WORD].strip()
