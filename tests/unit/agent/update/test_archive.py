"""The container: what it takes, and everything else that a tar may hold and this may not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from agent.errors import UpdateRefused
from agent.update import archive
from agent.update.manifest import Manifest
from tests.support.updates import signed_head, update_file

FILES = {"one.whl": b"1" * 1000, "two.whl": b"2" * 512}


def read(data: bytes) -> dict[str, bytes]:
    """As the updater does: head, then each file into its place."""
    file = io.BytesIO(data)
    head = archive.read_head(file)
    manifest = Manifest.model_validate_json(head.manifest)
    found: dict[str, io.BytesIO] = {}

    class Kept(io.BytesIO):
        def close(self) -> None:
            pass

    def sink(name: str) -> io.BytesIO:
        return found.setdefault(name, Kept())

    archive.read_payload(file, manifest.files, sink)
    return {name: content.getvalue() for name, content in found.items()}


def made_by_hand(change: Callable[[tarfile.TarFile], None], *, with_files: bool = True) -> bytes:
    """A rightly signed head, and a payload made by hand behind it."""
    head, _ = signed_head(FILES, "anh", "binh")
    out = io.BytesIO()
    archive.write_head(out, head)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        change(tar)
        for name, content in FILES.items() if with_files else ():
            add(tar, name, content)
    return out.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    tar.addfile(info, io.BytesIO(content))


def test_what_was_put_in_comes_out() -> None:
    assert read(update_file(FILES)) == FILES


def test_anybody_can_look_into_it_with_tar() -> None:
    with tarfile.open(fileobj=io.BytesIO(update_file(FILES))) as tar:
        assert tar.getnames() == ["manifest.json", "signatures.json", "one.whl", "two.whl"]


def test_the_same_content_gives_the_same_bytes() -> None:
    assert update_file(FILES) == update_file(FILES)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tar: add(tar, "../../etc/cron.d/evil", b"x"), id="a path that leads out"),
        pytest.param(lambda tar: add(tar, "/etc/passwd", b"x"), id="an absolute path"),
        pytest.param(lambda tar: add(tar, "one.whl", kind=tarfile.SYMTYPE, link="/etc/passwd"), id="a symbolic link"),
        pytest.param(lambda tar: add(tar, "one.whl", kind=tarfile.LNKTYPE, link="/etc/passwd"), id="a hard link"),
        pytest.param(lambda tar: add(tar, "one.whl", kind=tarfile.DIRTYPE), id="a folder"),
        pytest.param(lambda tar: add(tar, "one.whl", kind=tarfile.CHRTYPE), id="a device"),
        pytest.param(lambda tar: add(tar, "one.whl", kind=tarfile.FIFOTYPE), id="a pipe"),
        pytest.param(lambda tar: add(tar, "x" * 300, b"x"), id="a long name, in a header of tar's own"),
        pytest.param(lambda tar: add(tar, "extra.whl", b"x"), id="a file the manifest does not name"),
        pytest.param(lambda tar: add(tar, "two.whl", b"2" * 512), id="another order"),
        pytest.param(lambda tar: add(tar, "one.whl", b"1" * 999), id="another size"),
        pytest.param(lambda tar: add(tar, "one.whl", b"1" * 999 + b"x"), id="another content"),
    ],
)
def test_a_payload_that_is_not_exactly_the_manifests_is_refused(change: Callable[[tarfile.TarFile], None]) -> None:
    with pytest.raises(UpdateRefused):
        read(made_by_hand(change))


def test_a_file_behind_the_last_one_is_refused() -> None:
    def more(tar: tarfile.TarFile) -> None:
        for name, content in FILES.items():
            add(tar, name, content)
        add(tar, "more.whl", b"x")

    with pytest.raises(UpdateRefused, match="does not end"):
        read(made_by_hand(more, with_files=False))


def test_cut_off_anywhere_it_is_refused() -> None:
    whole = update_file(FILES)
    refused = 0
    for length in range(0, len(whole.rstrip(b"\0")) + 2 * 512, 97):
        with pytest.raises(UpdateRefused):
            read(whole[:length])
        refused += 1
    assert refused > 30


def test_a_changed_bit_anywhere_that_matters_is_refused_or_told_by_the_signature() -> None:
    """What is read as the same content is the same content; the manifest's own bits are the signatures' business."""
    whole = bytearray(update_file(FILES))
    for place in range(0, len(whole), 31):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        try:
            found = read(bytes(changed))
        except (UpdateRefused, ValueError):  # ValueError: the manifest is no manifest any more
            continue
        assert found == FILES


def test_a_manifest_beyond_the_bound_is_not_read() -> None:
    head = archive.Head(b" " * 300_000, b"{}")
    out = io.BytesIO()
    archive.write_head(out, head)
    with pytest.raises(UpdateRefused, match="300000 bytes; at most 262144"):
        archive.read_head(io.BytesIO(out.getvalue()))


@pytest.mark.parametrize("junk", [b"", b"\0" * 4096, b"PK\x03\x04" * 500, b"\xff" * 5000])
def test_what_is_no_archive_is_refused(junk: bytes) -> None:
    with pytest.raises(UpdateRefused, match=r"manifest\.json should begin"):
        archive.read_head(io.BytesIO(junk))
