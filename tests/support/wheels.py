"""Wheels made by hand: small ones, and the agent's own with something changed."""

from __future__ import annotations

import base64
import ensurepip
import hashlib
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

_SCRIPT = "gateway-agent = agent.__main__:main"


def write_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, bytes], *, needs: str = "", script: str = ""
) -> Path:
    """As pip takes it; files: path → content. needs: one requirement. script: a line of console_scripts."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        **files,
        f"{info}/METADATA": (metadata + (f"Requires-Dist: {needs}\n" if needs else "")).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script}\n".encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(member, data)
    return path


def changed_agent(
    wheel: Path, folder: Path, version: str, *, libraries: str, change: Callable[[dict[str, bytes]], None] | None = None
) -> Path:
    """The agent's own wheel under another version, and with no requirements of its own: its libraries are those of
    another environment, the folder `libraries`. change: does what else is to be other."""
    with zipfile.ZipFile(wheel) as archive:
        files = {
            re.sub(r"^gateway_agent-[^/]+\.data/", f"gateway_agent-{version}.data/", name): archive.read(name)
            for name in archive.namelist()
            if ".dist-info/" not in name and not name.endswith("/")
        }
    files["agent/__init__.py"] = re.sub(
        rb'^__version__ = ".*"', f'__version__ = "{version}"'.encode(), files["agent/__init__.py"], flags=re.MULTILINE
    )
    files["libraries_of_another_environment.pth"] = f"{libraries}\n".encode()
    if change is not None:
        change(files)
    return write_wheel(folder, "gateway_agent", version, files, script=_SCRIPT)


def pip_wheel() -> Path:
    """A pip, as every Python carries one."""
    (wheel,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
