"""What leaves the box in a bundle: no secret in any form, and a bounded size."""

from __future__ import annotations

import json
import tarfile
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import GatewayError
from agent.ops.bundle import MAX_PART_BYTES, Bundle, Redactor

PASSWORD = 'tr@ đá/7"x'
KNOWN = Redactor([PASSWORD])


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(PASSWORD, id="as it is"),
        pytest.param(quote(PASSWORD, safe=""), id="in an address"),
        pytest.param(quote(PASSWORD), id="in a path"),
        pytest.param(quote_plus(PASSWORD), id="in a form"),
        pytest.param(json.dumps(PASSWORD)[1:-1], id="in JSON"),
        pytest.param(json.dumps(PASSWORD, ensure_ascii=False)[1:-1], id="in JSON of UTF-8"),
    ],
)
def test_a_known_secret_goes_in_every_form(form: str) -> None:
    assert KNOWN(f"before {form} behind") == "before … behind"


@given(st.text(max_size=9), st.text(min_size=6, max_size=20), st.text(max_size=9))
def test_a_known_secret_inside_base64_cannot_be_read_back(before: str, secret: str, behind: str) -> None:
    """As in Basic authentication, where the user stands before it."""
    raw = secret.encode()
    for encode in (b64encode, urlsafe_b64encode):
        told = Redactor([secret])(encode(before.encode() + raw + behind.encode()).decode())
        # What is left holds less than the secret: at most the bits that it shares with its neighbours.
        for start in range(3):
            core = encode(b"\0" * start + raw).decode().rstrip("=")[(0, 2, 3)[start] : -1]
            assert core not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rtsp://viewer:s3cret@10.0.0.21/s", "rtsp://…@10.0.0.21/s"),
        ("http://a:b@c@10.0.0.21:80/", "http://…@10.0.0.21:80/"),
        ('password = "s3cret"  # of north', "password = …  # of north"),
        ('{"password": "s3\\"cret", "user": "x"}', '{"password": …, "user": "x"}'),
        ("GET /cgi?usr=x&pwd=s3cret&ch=1", "GET /cgi?usr=x&pwd=…&ch=1"),
        ("Authorization: Basic dmlld2VyOnMzY3JldA==", "Authorization: …"),
        ("api_key=s3cret", "api_key=…"),
        ("token: s3cret", "token: …"),
        ("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\nrest", "…\nrest"),
        ("-----BEGIN EC PRIVATE KEY-----\nMIGH\n(cut off)", "…"),
    ],
)
def test_what_looks_like_a_secret_goes_though_nobody_knows_it(text: str, told: str) -> None:
    assert Redactor([])(text) == told


@pytest.mark.parametrize(
    "text",
    [
        'password_file = "/etc/gateway-agent/credentials/broker"',
        "camera north: the camera refuses the user or the password (401); correct them in its credentials file",
        "mqtt://ioc.example:8883, someone@example.org",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor([])(text) == text


def test_a_short_secret_goes_where_it_stands_alone_and_leaves_the_rest_readable() -> None:
    assert Redactor(["1"])("pin 1, camera1, 11 fps") == "pin …, camera1, 11 fps"


def test_each_line_of_a_key_is_a_secret_of_its_own() -> None:
    """A log that was cut may hold the middle of a key, without the lines around it."""
    key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END PRIVATE KEY-----\n"
    assert Redactor([key])("…: AgEGCCqGSM49AwEHBG0w?") == "…: …?"


def test_of_a_long_text_the_end_is_kept_and_no_piece_of_a_secret_that_the_cut_goes_through(tmp_path: Path) -> None:
    bundle = Bundle(Redactor(["hunter2-hunter2"]))
    line = "x" * 90 + "hunter2-hunter2\n"
    bundle.add("journal.txt", "first\n" + line * (2 * MAX_PART_BYTES // len(line)) + "last\n")
    bundle.write(tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        member = tar.extractfile("gateway-agent/journal.txt")
        assert member is not None
        text = member.read()
    assert len(text) <= MAX_PART_BYTES + 100
    assert text.startswith(b"[the beginning was cut off]\nxxx")
    assert text.endswith(b"last\n")
    assert b"hunter2" not in text


def test_the_file_is_the_owners_alone_also_where_one_was_before(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    path.write_text("old")
    path.chmod(0o644)
    Bundle(KNOWN).write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["b.tar.gz"]


def test_a_folder_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        GatewayError, match="cannot write the bundle: No such file or directory; name a file in another"
    ):
        Bundle(KNOWN).write(tmp_path / "none" / "b.tar.gz")
