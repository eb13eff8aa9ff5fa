"""Names, fingerprints, chains and the day to renew; what an authority may answer and what it may not."""

from __future__ import annotations

import base64
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from agent.identity.certificate import (
    belong_together,
    box_name,
    chain,
    common_name,
    fingerprint,
    is_root,
    make_request,
    new_key,
    pem,
    read_fingerprint,
    read_pair,
    renewal_is_due,
)
from agent.identity.est import EstServer, read_answer
from provisioning.ca.authority import Authority, create

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create(tmp_path_factory.mktemp("ca") / "ca", "Test city", b"correct horse battery", now=NOW)


def test_a_name_tells_site_from_box_where_a_dot_would_not() -> None:
    assert box_name("a.b", "c") != box_name("a", "b.c")
    assert common_name(make_request(new_key(), box_name("cua-bac", "gw-01")).subject) == "cua-bac/gw-01"


@pytest.mark.parametrize(
    ("site", "box"),
    [
        pytest.param("a/b", "c", id="a slash"),
        pytest.param("+", "c", id="a wildcard"),
        pytest.param("a", "#", id="the other wildcard"),
        pytest.param("client:x", "c", id="a colon"),
        pytest.param("s" * 32, "b" * 32, id="longer than a certificate can hold"),
    ],
)
def test_a_name_that_would_reach_further_is_refused(site: str, box: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        box_name(site, box)


@pytest.mark.parametrize("written", ["{0}", "SHA256:{0}", "sha256:{1}", " {1} ", "{2}", "sha-256={0}"])
def test_a_fingerprint_is_read_as_people_and_tools_write_it(written: str) -> None:
    plain = "0a1b" * 16
    pairs = ":".join(plain[n : n + 2] for n in range(0, 64, 2)).upper()
    groups = " ".join(plain[n : n + 4] for n in range(0, 64, 4))
    assert read_fingerprint(written.format(plain, pairs, groups)) == plain


@pytest.mark.parametrize("text", ["", "0a1b", "g" * 64, "0" * 63, "0" * 65, "sha1:" + "0" * 40])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        read_fingerprint(text)


def test_a_chain_leads_to_a_root_by_signatures_and_not_by_names(city: Authority, tmp_path: Path) -> None:
    twin = create(tmp_path / "twin", "Test city", b"correct horse battery", now=NOW)
    key = new_key()
    leaf = city.sign(make_request(key, "a/b"), "a/b", now=NOW)
    assert chain(leaf, [twin.issuing, city.root, city.issuing], [city.root]) == (leaf, city.issuing)
    with pytest.raises(ValueError, match="no way leads to Test city root"):
        chain(leaf, [twin.issuing, city.issuing], [twin.root])
    with pytest.raises(ValueError, match="no way leads"):
        chain(leaf, [], [city.root])


def test_a_certificate_that_is_no_authority_certifies_nobody(city: Authority) -> None:
    """A box's key signs for another box: it is below the root, and no authority."""
    thief = new_key()
    own = city.sign(make_request(thief, "a/b"), "a/b", now=NOW)
    forged = (
        x509.CertificateBuilder()
        .subject_name(make_request(new_key(), "a/c").subject)
        .issuer_name(own.subject)
        .public_key(new_key().public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=9))
        .sign(thief, hashes.SHA256())
    )
    with pytest.raises(ValueError, match="no way leads"):
        chain(forged, [own, city.issuing], [city.root])


def test_roots_are_told_from_those_below(city: Authority) -> None:
    leaf = city.sign(make_request(new_key(), "a/b"), "a/b", now=NOW)
    assert [is_root(one) for one in (city.root, city.issuing, leaf)] == [True, False, False]


@pytest.mark.parametrize(("days_on", "due"), [(0, False), (240, False), (244, True), (364, True), (400, True)])
def test_renewal_is_due_when_a_third_of_the_life_is_left(city: Authority, days_on: int, due: bool) -> None:
    leaf = city.sign(make_request(new_key(), "a/b"), "a/b", now=NOW)
    assert renewal_is_due(leaf, NOW + timedelta(days=days_on)) is due


def test_a_pair_is_read_back_and_one_that_does_not_fit_is_refused(city: Authority) -> None:
    pair = city.client("ioc", now=NOW)
    assert read_pair(pair.pem()).certificates == pair.certificates
    other = city.client("ioc", now=NOW)
    assert not belong_together(other.key, pair.certificate)
    for content in (
        b"",
        pem(pair.certificates),
        pair.pem()[:300],
        other.pem().split(b"-----BEGIN CERT")[0] + pem([pair.certificate]),
    ):
        with pytest.raises(ValueError, match=r"."):
            read_pair(content)


# ---- the EST server's words ------------------------------------------------------------------------------------------


def test_an_answer_is_pkcs7_in_base64_with_or_without_line_ends(city: Authority) -> None:
    der = pkcs7.serialize_certificates([city.issuing, city.root], Encoding.DER)
    for body in (base64.b64encode(der), base64.encodebytes(der), base64.encodebytes(der).replace(b"\n", b"\r\n")):
        assert {fingerprint(one) for one in read_answer(body)} == {fingerprint(city.root), fingerprint(city.issuing)}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl; apt-get install openssl")
def test_an_answer_that_others_made_is_read(city: Authority) -> None:
    """OpenSSL's, which leaves the certificates in the order they came in."""
    command = ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", "DER"]
    made = subprocess.run(command, input=pem([city.issuing, city.root]), capture_output=True, check=True)
    assert read_answer(base64.encodebytes(made.stdout)) == [city.issuing, city.root]


@pytest.mark.parametrize("body", [b"", b"<html>", b"AAAA", b"MAA=", b"\xff\xfe", b"MIIB" * 200])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_answer(body)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ca.city", "https://ca.city"),
        ("ca.city:8443", "https://ca.city:8443"),
        ("https://ca.city/boxes/", "https://ca.city/boxes"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_address_of_a_server_may_have_a_port_and_a_label(url: str, shown: str) -> None:
    assert EstServer(url).url == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.city",
        "https://",
        "https://user:secret@ca.city",
        "https://ca.city/a/b",
        "https://ca.city:x",
        "https://a?b",
    ],
)
def test_an_address_that_cannot_be_one_is_refused_and_no_password_is_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        EstServer(url)
    assert "secret" not in str(caught.value)
