"""What a Python program needs in the guest besides Python: a folder with our code and the libraries it imports.

The libraries are those of this interpreter's environment, so that what is tested there is what is tested here. Their
compiled parts fit only the version of Python for which they were installed.
"""

from __future__ import annotations

import compileall
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from py_compile import PycInvalidationMode

from packaging.requirements import Requirement

from tests.guest.tools import GuestError

REPOSITORY = Path(__file__).parents[2]
GUEST_PYTHON = (3, 11)  # Debian 12's


def gather(folder: Path, modules: Iterable[str], distributions: Iterable[str]) -> None:
    """Into a new folder, to be the guest's PYTHONPATH: files or folders of this repository, and installed
    distributions with all that they require. Raises GuestError."""
    if sys.version_info[:2] != GUEST_PYTHON:
        found, wanted = (".".join(map(str, version)) for version in (sys.version_info[:2], GUEST_PYTHON))
        raise GuestError(
            f"this is Python {found}, and its libraries do not fit the guest's {wanted}; run with {wanted}"
        )
    for name in modules:
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    for library in _with_requirements(distributions):
        _copy(library, folder)
    # Here it takes a moment, there a minute; and the guest sees this folder read-only.
    compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def _with_requirements(names: Iterable[str]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError as exc:
            raise GuestError(f"{name} is not installed in this Python's environment") from exc
        requirements = map(Requirement, found[name].requires or ())
        left += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [*found.values()]


def _copy(library: Distribution, folder: Path) -> None:
    for file in library.files or ():
        # Not scripts, which lie outside, and not what was compiled for files that are elsewhere.
        if file.parts[0] != ".." and "__pycache__" not in file.parts:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library.locate_file(file), target)  # type: ignore[call-overload]
