"""What make-bundle.sh cannot say in shell: which of a lock's lines hold on another machine, and a list of .deb files.

    python bundle.py requirements LOCK MACHINE PYTHON   the lock without its markers, for aarch64 or x86_64 and 3.13 …
    python bundle.py platforms MACHINE                  pip's names of the wheels that run there, one a line
    python bundle.py packages FOLDER                    an index of its .deb files, as apt reads one

Run by the Python of an environment with pip, whose reader of requirements it uses.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# pip's own: it reads markers by the machine on which it runs, and can be told of another one's wheels alone.
from pip._vendor.packaging.requirements import Requirement

_GLIBC = range(17, 37)  # manylinux_2_17 to what Debian 12 has; Debian 13 and Ubuntu 24.04 have newer ones


def requirements(lock: str, machine: str, python: str) -> str:
    """The lines that hold on a board, with their hashes and without their markers. python: "3.11"."""
    markers = {
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "python_version": python,
        "python_full_version": f"{python}.2",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    kept = []
    for block in re.split(r"\n(?=\S)", lock.strip()):
        head, _, hashes = block.partition(" \\\n")
        requirement = Requirement(head)
        if requirement.marker is None or requirement.marker.evaluate(markers):
            kept.append(f"{requirement.name}{requirement.specifier} \\\n{hashes}\n")
    return "".join(kept)


def platforms(machine: str) -> Iterator[str]:
    yield from (f"manylinux_2_{minor}_{machine}" for minor in _GLIBC)
    yield f"manylinux2014_{machine}"


def packages(folder: Path) -> Iterator[str]:
    """One paragraph for each archive: what it says of itself, where it is, and its hash."""
    for archive in sorted(folder.glob("*.deb")):
        said = subprocess.run(["dpkg-deb", "--field", archive], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        yield f"{said}Filename: ./{archive.name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n"


def main(arguments: list[str]) -> int:
    match arguments:
        case ["requirements", lock, machine, python]:
            print(requirements(Path(lock).read_text(encoding="utf-8"), machine, python), end="")
        case ["platforms", machine]:
            print("\n".join(platforms(machine)))
        case ["packages", folder]:
            print("\n".join(packages(Path(folder))), end="")
        case _:
            print(f"bundle.py: unknown arguments {arguments}; see the head of this file", file=sys.stderr)
            return 64
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
