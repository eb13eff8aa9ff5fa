"""What is replaced, and how: a release, a model pack, the configuration, the trust file. One class each, same steps.

    prepare   make the new beside the old; nothing that runs sees it. Raises UpdateRefused if it is no good
    switch    from old to new, in one step
    restore   from new to old, in one step; also where switch was never done, or only just
    finish    the new is proven: it becomes what a later restore goes back to, and what nobody needs is removed
    discard   remove what prepare made, unless it is in use
Each may be done again after it was interrupted at any point.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent import config
from agent.durable import set_link, sync_folder, write_whole
from agent.errors import ConfigError, UpdateRefused
from agent.update.manifest import FILES
from agent.update.places import Places
from drivers.base import ModelPackError
from drivers.inference.pack import load_pack

Install = Callable[[Path, Path, str], None]
"""Make a release: (folder of its files, folder of the release, its version). Raises UpdateRefused, OSError."""


class Slot(Protocol):
    is_tried: bool  # whether the agent must prove itself with it

    def prepare(self, payload: Path) -> None: ...
    def before(self) -> str | None:
        """What restore is to be told."""

    def switch(self, payload: Path) -> None: ...
    def restore(self, before: str | None) -> None: ...
    def finish(self, payload: Path) -> None: ...
    def discard(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReleaseSlot:
    places: Places
    version: str
    install: Install
    is_tried = True

    @property
    def _folder(self) -> Path:
        return self.places.releases / self.version

    def prepare(self, payload: Path) -> None:
        if link_target(self.places.current) == self._target or link_target(self.places.proven) == self._target:
            raise UpdateRefused(f"release {self.version} is what is installed")
        if link_target(self.places.previous) == self._target:  # back to the one before: made anew, from what is signed
            set_link(self.places.previous, None)
        self.discard()
        make_folders(self.places.releases)
        self.install(payload, self._folder, self.version)

    @property
    def _target(self) -> str:
        return f"releases/{self.version}"

    def before(self) -> str | None:
        return None  # `proven` knows

    def switch(self, payload: Path) -> None:
        set_link(self.places.current, self._target)

    def restore(self, before: str | None) -> None:
        set_link(self.places.current, link_target(self.places.proven))

    def finish(self, payload: Path) -> None:
        proven = link_target(self.places.proven)
        if proven != self._target:  # else this was done, and then interrupted
            set_link(self.places.previous, proven)
            set_link(self.places.proven, self._target)
        prune_releases(self.places)

    def discard(self) -> None:
        if self._target not in linked_releases(self.places):
            remove(self._folder)


@dataclass(frozen=True, slots=True)
class PackSlot:
    places: Places
    name: str
    version: str
    is_tried = True

    @property
    def _folder(self) -> Path:
        return self.places.pack_versions / f"{self.name}-{self.version}"

    @property
    def _link(self) -> Path:
        return self.places.packs / self.name

    def prepare(self, payload: Path) -> None:
        try:
            pack = load_pack(payload)
        except ModelPackError as exc:
            raise UpdateRefused(str(exc)) from exc
        if pack.manifest.name != self.name or pack.manifest.version != self.version:
            raise UpdateRefused(f"it says it is pack {self.name} {self.version}, and holds {pack.label}")
        if link_target(self._link) == self._target:
            raise UpdateRefused(f"pack {self.name} {self.version} is what is installed")
        self.discard()
        make_folders(self.places.packs, self.places.pack_versions)
        copy_folder(payload, self._folder)

    @property
    def _target(self) -> str:
        return f"../pack-versions/{self._folder.name}"

    def before(self) -> str | None:
        return link_target(self._link)

    def switch(self, payload: Path) -> None:
        set_link(self._link, self._target)

    def restore(self, before: str | None) -> None:
        if self.places.packs.is_dir():
            set_link(self._link, before)

    def finish(self, payload: Path) -> None:
        for folder in self.places.pack_versions.glob(f"{self.name}-*"):
            if folder != self._folder and folder.name.removeprefix(f"{self.name}-").replace(".", "").isdigit():
                remove(folder)

    def discard(self) -> None:
        if link_target(self._link) != self._target:
            remove(self._folder)


@dataclass(frozen=True, slots=True)
class ConfigSlot:
    """The configuration before is kept as update/config.before, also afterwards: for whoever wants to look."""

    places: Places
    is_tried = True

    def prepare(self, payload: Path) -> None:
        new = (payload / FILES["config"]).read_text(encoding="utf-8", errors="replace")
        try:
            settings = config.parse(new, FILES["config"])
            now = config.load(self.places.config)
        except ConfigError as exc:
            raise UpdateRefused(str(exc)) from exc
        found, wanted = (f"{one.box.site}/{one.box.id}" for one in (settings, now))
        if found != wanted:
            raise UpdateRefused(f"it is the configuration of box {found}; this one is {wanted}")
        write_whole(self.places.config_before, self.places.config.read_bytes(), like=self.places.config.stat())

    def before(self) -> str | None:
        return None

    def switch(self, payload: Path) -> None:
        write_whole(self.places.config, (payload / FILES["config"]).read_bytes(), like=self.places.config.stat())

    def restore(self, before: str | None) -> None:
        write_whole(self.places.config, self.places.config_before.read_bytes(), like=self.places.config.stat())

    def finish(self, payload: Path) -> None:
        pass

    def discard(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class TrustSlot:
    """No trial: the agent does not read it, and what it says was held against the old one when it was verified."""

    places: Places
    is_tried = False

    def prepare(self, payload: Path) -> None:
        pass

    def before(self) -> str | None:
        return None

    def switch(self, payload: Path) -> None:
        pass

    def restore(self, before: str | None) -> None:
        pass

    def finish(self, payload: Path) -> None:
        write_whole(self.places.trust, (payload / FILES["trust"]).read_bytes(), like=self.places.trust.stat())

    def discard(self) -> None:
        pass


def slot_of(places: Places, kind: str, name: str, version: str, install: Install) -> Slot:
    if kind == "release":
        return ReleaseSlot(places, version, install)
    if kind == "pack":
        return PackSlot(places, name, version)
    return ConfigSlot(places) if kind == "config" else TrustSlot(places)


def prune_releases(places: Places) -> None:
    """Kept are those that a link names."""
    kept = linked_releases(places)
    for folder in places.releases.iterdir():
        if f"releases/{folder.name}" not in kept:
            remove(folder)


def linked_releases(places: Places) -> set[str | None]:
    """What runs, what is proven, and what was before."""
    return {link_target(link) for link in (places.current, places.proven, places.previous)}


def link_target(link: Path) -> str | None:
    """As it is written in the link; None: there is no link."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return None


def make_folders(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def remove(path: Path) -> None:
    """A file, a link or a folder, or what is left of one."""
    if path.is_dir() and not path.is_symlink():
        # First out of the way in one step: half a folder never has the name of a whole one.
        going = path.with_name(f".{path.name}.going")
        if going.exists():
            shutil.rmtree(going)
        path.replace(going)
        shutil.rmtree(going)
    else:
        path.unlink(missing_ok=True)


def copy_folder(source: Path, target: Path) -> None:
    """Whole or not at all, on the disk when it returns. A flat folder of plain files."""
    new = target.with_name(f".{target.name}.new")
    remove(new)
    new.mkdir()
    for file in source.iterdir():
        write_whole(new / file.name, file.read_bytes())
    sync_folder(new)
    new.replace(target)
    sync_folder(target.parent)
