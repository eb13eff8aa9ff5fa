"""The container: a plain tar of manifest.json, signatures.json and the files of the manifest, in its order.

Read front to back and never backwards, with memory for one block. It is a tar so that anybody can look into it
(`tar tf`), but none of tar's freedoms is taken: a header that is not exactly the next one of the manifest ends the
reading. So there are no links, no folders, no long names, no sizes but the signed ones. Not compressed: wheels are, and
quantised weights hardly shrink.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO

from agent.errors import UpdateRefused
from agent.update.manifest import Payload

SUFFIX = ".gwu"
_BLOCK = 512
_RECORD = 10240
_MAX_END_BYTES = 2 * _BLOCK + _RECORD  # two empty blocks, and filled up to a record
_CHUNK = 1 << 20
_MAX_MANIFEST_BYTES = 256 * 1024
_MAX_SIGNATURES_BYTES = 64 * 1024
MAX_OVERHEAD_BYTES = _MAX_MANIFEST_BYTES + _MAX_SIGNATURES_BYTES + 2 * _RECORD + 300 * 2 * _BLOCK

Sink = Callable[[str], AbstractContextManager[BinaryIO]]
"""Opens the place where a file of that name is to go."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the files, as it came."""

    manifest: bytes
    signatures: bytes


def read_head(file: BinaryIO) -> Head:
    """Leaves file at the first payload. Raises UpdateRefused."""
    return Head(
        _small(file, "manifest.json", _MAX_MANIFEST_BYTES), _small(file, "signatures.json", _MAX_SIGNATURES_BYTES)
    )


def read_payload(file: BinaryIO, wanted: Sequence[Payload], sink: Sink | None = None) -> None:
    """Hold every file to what the manifest says of it, to the archive's end; write them where there is a sink.

    Nothing beyond the size of the manifest is read or written. Raises UpdateRefused; OSError of the disk.
    """
    for payload in wanted:
        size = _header(file, payload.name)
        if size != payload.bytes:
            raise UpdateRefused(f"{payload.name} has {size} bytes; its manifest says {payload.bytes}")
        digest = hashlib.sha256()
        with sink(payload.name) if sink is not None else nullcontext(io.BytesIO()) as out:
            for chunk in _chunks(file, payload.name, size):
                digest.update(chunk)
                if sink is not None:
                    out.write(chunk)
        if digest.hexdigest() != payload.sha256:
            raise UpdateRefused(
                f"{payload.name} is damaged or was changed: sha256 {digest.hexdigest()}; "
                f"its manifest says {payload.sha256}"
            )
    rest = file.read(_MAX_END_BYTES + 1)
    if not 2 * _BLOCK <= len(rest) <= _MAX_END_BYTES or rest.strip(b"\0"):
        raise UpdateRefused("it does not end where its manifest says; fetch it again")


def write(file: BinaryIO, head: Head, payload: Sequence[Payload], source: Callable[[str], BinaryIO]) -> None:
    """The archive of these files; source opens one by its name. Owner, time and rights are the same for all: the same
    content gives the same bytes."""
    write_head(file, head)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for one in payload:
            with source(one.name) as content:
                tar.addfile(_info(one.name, one.bytes), content)


def write_head(file: BinaryIO, head: Head) -> None:
    """What stands before the files: a tar without its end."""
    for name, content in (("manifest.json", head.manifest), ("signatures.json", head.signatures)):
        file.write(_info(name, len(content)).tobuf(tarfile.USTAR_FORMAT))
        file.write(content + bytes(-len(content) % _BLOCK))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _small(file: BinaryIO, name: str, limit: int) -> bytes:
    size = _header(file, name)
    if size > limit:
        raise UpdateRefused(f"its {name} has {size} bytes; at most {limit} are taken")
    return b"".join(_chunks(file, name, size))


def _header(file: BinaryIO, name: str) -> int:
    """The size of the next member, which must be a plain file of this name."""
    block = file.read(_BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as exc:
        what = "is cut off" if len(block) < _BLOCK else "is no update file, or damaged"
        raise UpdateRefused(f"it {what} where {name} should begin ({exc}); fetch it again") from exc
    if info.name != name or info.type != tarfile.REGTYPE or info.size < 0:
        raise UpdateRefused(f"it holds {info.name[:100]!r}; wanted the plain file {name}")
    return info.size


def _chunks(file: BinaryIO, name: str, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise UpdateRefused(f"it is cut off in {name}, {left} bytes before its end; fetch it again")
        left -= len(chunk)
        yield chunk
    padding = file.read(-size % _BLOCK)
    if len(padding) != -size % _BLOCK:
        raise UpdateRefused(f"it is cut off behind {name}; fetch it again")
