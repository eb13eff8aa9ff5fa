"""HTTP cameras without a network: logins by the standards' own examples, streams cut into pictures, picture sizes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drivers.cameras import Credentials
from drivers.cameras.http_auth import Authenticator, parse_challenges
from drivers.cameras.jpeg import jpeg_size_px
from drivers.cameras.multipart import Multipart, NotMultipart, boundary_of
from drivers.cameras.refusals import status_words

# RFC 7616, 3.9.1.
OFFER = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
MUFASA = Credentials("Mufasa", "Circle of Life")
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
MD5 = "8ca523f5e9506fed4657c9700eebdbec"
SHA_256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"


@pytest.mark.parametrize(("algorithm", "response"), [("MD5", MD5), ("SHA-256", SHA_256)])
def test_a_digest_is_that_of_the_standards_example(algorithm: str, response: str) -> None:
    authenticator = Authenticator(MUFASA)
    assert authenticator.header("GET", "/dir/index.html") is None, "nothing was asked yet"
    assert authenticator.learn([OFFER.format(algorithm=algorithm)])
    header = authenticator.header("GET", "/dir/index.html", cnonce=CNONCE) or ""
    assert f'response="{response}"' in header
    assert f"algorithm={algorithm}" in header
    assert "nc=00000001" in header
    assert "nc=00000002" in (authenticator.header("GET", "/dir/index.html") or "")


def test_a_digest_of_the_old_kind_is_that_of_its_standards_example() -> None:
    """RFC 2069 as corrected: no qop."""
    authenticator = Authenticator(Credentials("Mufasa", "CircleOfLife"))
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    assert authenticator.learn([f'Digest realm="testrealm@host.com", nonce="{nonce}"'])
    header = authenticator.header("GET", "/dir/index.html") or ""
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in header
    assert "qop" not in header


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        pytest.param(['Basic realm="x"', OFFER.format(algorithm="MD5")], MD5, id="digest rather than basic"),
        pytest.param([f'Basic realm="x", {OFFER.format(algorithm="MD5")}'], MD5, id="both in one header"),
        pytest.param([OFFER.format(algorithm=a) for a in ("MD5", "SHA-256")], SHA_256, id="the better hash"),
        pytest.param([OFFER.format(algorithm=a) for a in ("SHA-512-256", "MD5")], MD5, id="the hash that we know"),
        pytest.param(['Basic realm="x"'], "Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl", id="basic, where there is no other"),
    ],
)
def test_the_best_of_the_offers_is_taken(headers: list[str], taken: str) -> None:
    authenticator = Authenticator(MUFASA)
    assert authenticator.learn(headers)
    assert taken in (authenticator.header("GET", "/dir/index.html", cnonce=CNONCE) or "")


@pytest.mark.parametrize("header", ["", "Negotiate", "Digest", 'Digest realm="x"', 'Digest nonce="x", algorithm=MD4'])
def test_an_offer_that_cannot_be_answered_gets_none(header: str) -> None:
    authenticator = Authenticator(MUFASA)
    assert not authenticator.learn([header])
    assert authenticator.header("GET", "/") is None


def test_without_a_login_nothing_is_answered() -> None:
    authenticator = Authenticator(None)
    assert not authenticator.learn([OFFER.format(algorithm="MD5")])
    assert authenticator.header("GET", "/") is None


def test_quotes_and_commas_in_offers_are_read_as_written() -> None:
    (offer,) = parse_challenges('Digest realm="a, \\"b\\"", nonce=abc')
    assert offer.parameters == {"realm": 'a, "b"', "nonce": "abc"}


# ---- streams ---------------------------------------------------------------------------------------------------------


def parts_of(stream: Multipart, data: bytes, size: int) -> list[bytes]:
    found = []
    for at in range(0, len(data), size):
        stream.feed(data[at : at + size])
        while (part := stream.next_part()) is not None:
            found.append(part)
    return found


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"--b\r\nContent-Length: 3\r\n\r\none\r\n--b\r\nContent-Length: 3\r\n\r\ntwo\r\n--b--\r\n",
            id="as it should be",
        ),
        pytest.param(b"--b\r\nX: y\r\n\r\none\r\n--b\r\nX: y\r\n\r\ntwo\r\n--b\r\n", id="no lengths"),
        pytest.param(b"--b\nContent-length:3\n\none\n--b\nCONTENT-LENGTH : 3\n\ntwo\n", id="bare newlines"),
        pytest.param(b"\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b", id="no headers at all"),
        pytest.param(b"noise\r\n--b\r\nContent-Length: 3\r\n\r\noneNOISE\r\n--b\r\n\r\ntwo\r\n--b", id="noise between"),
        pytest.param(
            b"--b\r\nContent-Length: 0\r\n\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b", id="an empty part"
        ),
    ],
)
def test_pictures_come_out_however_the_stream_is_written_and_cut(data: bytes, size: int) -> None:
    assert parts_of(Multipart(b"b"), data, size) == [b"one", b"two"]


def test_a_boundary_that_nobody_announced_is_taken_from_the_stream() -> None:
    assert parts_of(Multipart(None), b"\r\n--xyz\r\n\r\none\r\n--xyz\r\n\r\ntwo\r\n--xyz\r\n", 4) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"--b\r\nContent-Length: 101\r\n\r\n", "a picture of 101 bytes", id="announces too much"),
        pytest.param(b"--b\r\n\r\n" + bytes(200), "without a boundary", id="never ends"),
        pytest.param(bytes(200), "without a boundary", id="no boundary"),
        pytest.param(b"--b\r\n" + b"X: y\r\n" * 2000, "headers of a picture", id="headers without end"),
    ],
)
def test_a_stream_that_would_fill_the_memory_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(NotMultipart, match=words):
        parts_of(Multipart(b"b", max_part_bytes=100), data, 50)


def test_a_stream_of_something_else_has_no_boundary() -> None:
    with pytest.raises(NotMultipart, match="names no boundary"):
        parts_of(Multipart(None), b"<html>\n<body>", 100)


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=b", b"b"),
        ("multipart/x-mixed-replace;boundary=--b", b"b"),
        ('multipart/x-mixed-replace; charset=x; BOUNDARY = "a;b"', b"a;b"),
        ("multipart/x-mixed-replace", None),
        ("multipart/x-mixed-replace; boundary=", None),
    ],
)
def test_the_boundary_is_read_from_the_header(header: str, boundary: bytes | None) -> None:
    assert boundary_of(header) == boundary


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [0, 1])
def test_the_size_of_a_jpeg_is_known_before_it_is_decoded(progressive: int) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    assert jpeg_size_px(jpeg) == (64, 48)
    assert jpeg_size_px(jpeg[:100]) is None, "cut off in its headers"


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\x89PNG", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\x00\x00\xff\xc0"]
)
def test_what_is_no_jpeg_has_no_size(data: bytes) -> None:
    assert jpeg_size_px(data) is None


@pytest.mark.parametrize(("status", "refused"), [(302, True), (401, True), (404, True), (418, True), (500, False)])
def test_what_waiting_does_not_mend_is_told_from_what_it_does(status: int, refused: bool) -> None:
    assert status_words(status, has_login=True)[0] is refused
    assert str(status) in status_words(status, has_login=True)[1]
