"""What of a release lies outside of it: units, udev rules, users, bounds of the log.

They are copies, since systemd reads them before everything is mounted, so they change with the release: when it is
tried, and back when it is put back. Provisioning put the first ones there, and the list of them; a box without that
list was set up by hand, and its files are left alone.
"""

from __future__ import annotations

from pathlib import Path

from agent.durable import write_whole
from agent.update.places import Places

SHARE = Path("share", "gateway-agent", "systemd")
# As provision.sh has it. Files that are named in neither are used where they are.
_UNITS = "etc/systemd/system"
_OTHERS = {
    "sysusers.conf": "usr/lib/sysusers.d/gateway-agent.conf",
    "journald.conf": "etc/systemd/journald.conf.d/gateway-agent.conf",
    "system.conf": "etc/systemd/system.conf.d/gateway-agent.conf",
    "udev.rules": "etc/udev/rules.d/60-gateway-agent.rules",
    "udev-stick.rules": "etc/udev/rules.d/90-gateway-agent-stick.rules",
}
_SUFFIXES = (".service", ".timer", ".path", ".socket")


def put_in_place(places: Places, release: Path) -> list[str]:
    """The files of this release where they belong, and those of another one away. What was changed, by path.

    Raises OSError; what was done stays, and the next call does the rest.
    """
    folder = release / SHARE
    if not places.units_list.is_file() or not folder.is_dir():
        return []
    listed = {line for line in places.units_list.read_text(encoding="utf-8").splitlines() if line}
    wanted = {
        f"/{target}": path for path in sorted(folder.iterdir()) if (target := _destination(path.name)) is not None
    }
    changed = []
    # First the list of both: what is listed and missing does no harm to whoever uninstalls.
    _write_list(places, listed | wanted.keys())
    for target, path in wanted.items():
        place, content = places.system / target.lstrip("/"), path.read_bytes()
        if not place.is_file() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, content)
            changed.append(target)
    for target in sorted(listed - wanted.keys()):
        place = places.system / target.lstrip("/")
        if place.exists():
            place.unlink()
            changed.append(target)
    _write_list(places, set(wanted))
    return changed


def to_enable(places: Places, changed: list[str]) -> list[str]:
    """The units among them that start by themselves, by name."""
    units = [places.system / path.lstrip("/") for path in changed if path.startswith(f"/{_UNITS}/")]
    return [unit.name for unit in units if unit.is_file() and "[Install]" in unit.read_text(encoding="utf-8")]


def _destination(name: str) -> str | None:
    return f"{_UNITS}/{name}" if name.endswith(_SUFFIXES) else _OTHERS.get(name)


def _write_list(places: Places, paths: set[str]) -> None:
    content = "".join(f"{path}\n" for path in sorted(paths)).encode()
    if places.units_list.read_bytes() != content:
        write_whole(places.units_list, content, like=places.units_list.stat())
