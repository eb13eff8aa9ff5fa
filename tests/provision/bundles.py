"""Bundles of this tree, and of what could come after it: another version, one that does not start."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from tests.guest.tools import run

TOP = Path(__file__).parents[2]
_PARTS = ("agent", "drivers", "models", "systemd", "provisioning", "pyproject.toml", "README.md", "LICENSE")
_MAKE_S = 900.0


def make(folder: Path, *, version: str | None = None, broken: bool = False, debian: str = "none") -> Path:
    """A bundle for this machine's processor and Debian 12. broken: its `run` ends at once, with a problem."""
    folder.mkdir(parents=True)
    tree = TOP
    if version is not None:
        tree = copy_tree(folder / "tree")
        face = tree / "agent" / "__init__.py"
        face.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', face.read_text()))
    if broken:
        verb = tree / "agent" / "verbs" / "run.py"
        verb.write_text(verb.read_text().replace("    stop = threading.Event()\n", "    return 1\n", 1))
    bundle = folder / "agent.bundle"
    script = str(tree / "provisioning" / "make-bundle.sh")
    run(
        ["sh", script, "--board", "amd64", "--python", "3.11", "--debian", debian, "--to", str(bundle)],
        timeout_s=_MAKE_S,
    )
    return bundle


def copy_tree(folder: Path) -> Path:
    """What provisioning needs of this checkout."""
    folder.mkdir()
    for name in _PARTS:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(TOP / name, folder / name)
    return folder


def damaged(bundle: Path, path: Path) -> Path:
    """A copy with one byte of it changed, deep inside."""
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)
    return path


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), debian="bookworm"))
