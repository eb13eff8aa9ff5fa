"""The authority's own rules: what it signs, for whom, and what its list says. The network is tests/integration's."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from agent.identity.certificate import Key, make_request, new_key
from provisioning.ca.authority import Authority, CaError, Refused, create

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PASSPHRASE = b"correct horse battery"


@pytest.fixture
def city(tmp_path: Path) -> Authority:
    return create(tmp_path / "ca", "Test city", PASSPHRASE, now=NOW)


def enrolled(city: Authority, name: str, key: Key | None = None, *, now: datetime = NOW) -> x509.Certificate:
    token = city.new_token(name, hours=1, now=now)
    return city.enrol(make_request(key or new_key(), name), token, now=now)


def listed(city: Authority) -> set[int]:
    """Serial numbers on the issuing authority's list."""
    crl = x509.load_pem_x509_crl((city.folder / "crl.pem").read_bytes())
    assert crl.is_signature_valid(city.issuing.public_key())  # type: ignore[arg-type]
    return {one.serial_number for one in crl}


def test_only_its_owner_reads_its_keys_and_the_roots_is_encrypted(city: Authority) -> None:
    secret = {"root.key", "issuing.key", "ca.db"}
    assert {path.name for path in city.folder.iterdir() if path.stat().st_mode & 0o077 == 0} >= secret
    content = (city.folder / "root.key").read_bytes()
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(content, None)
    assert serialization.load_pem_private_key(content, PASSPHRASE)


def test_it_goes_on_without_the_roots_key(city: Authority) -> None:
    (city.folder / "root.key").unlink()
    assert enrolled(Authority(city.folder), "a/b")


def test_an_authority_is_made_once(city: Authority) -> None:
    with pytest.raises(CaError, match="not empty"):
        create(city.folder, "Test city", PASSPHRASE, now=NOW)


def test_a_box_gets_a_clients_certificate_for_a_year_and_a_broker_a_servers(city: Authority) -> None:
    box, server = enrolled(city, "a/b"), city.server(["mqtt.city", "10.0.0.5"], now=NOW).certificate
    assert box.not_valid_after_utc == NOW + timedelta(days=365)
    for certificate, usage in ((box, "clientAuth"), (server, "serverAuth")):
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert [one._name for one in usages] == [usage]
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mqtt.city"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]


def test_a_certificate_does_not_outlive_its_authority(city: Authority) -> None:
    end = city.issuing.not_valid_after_utc
    assert enrolled(city, "a/b", now=end - timedelta(days=9)).not_valid_after_utc == end
    with pytest.raises(CaError, match="make a new authority"):
        enrolled(city, "a/b", now=end)


def request(key: Key | ed25519.Ed25519PrivateKey, *names: x509.NameAttribute) -> x509.CertificateSigningRequest:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, algorithm)


COMMON = x509.NameAttribute(NameOID.COMMON_NAME, "a/b")


@pytest.mark.parametrize(
    ("csr", "words"),
    [
        pytest.param(
            request(ed25519.Ed25519PrivateKey.generate(), COMMON), "wanted EC P-256", id="another kind of key"
        ),
        pytest.param(request(ec.generate_private_key(ec.SECP384R1()), COMMON), "wanted EC P-256", id="another curve"),
        pytest.param(request(new_key()), "wanted one common name", id="no name"),
        pytest.param(request(new_key(), COMMON, COMMON), "wanted one common name", id="two names"),
        pytest.param(
            request(new_key(), COMMON, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")),
            "wanted one common name",
            id="more than a name",
        ),
        *(
            pytest.param(request(new_key(), x509.NameAttribute(NameOID.COMMON_NAME, name)), "wanted", id=name)
            for name in ("a", "a/b/c", "a/+", "#", "client:ioc", "a/b\x00", "mqtt.city")
        ),
    ],
)
def test_a_request_for_anything_but_a_boxs_name_is_refused(
    city: Authority, csr: x509.CertificateSigningRequest, words: str
) -> None:
    token = city.new_token("a/b", hours=1, now=NOW)
    with pytest.raises(Refused, match=words):
        city.enrol(csr, token, now=NOW)
    assert city.issued() == []


def test_a_request_that_somebody_changed_is_refused(city: Authority) -> None:
    der = bytearray(make_request(new_key(), "a/b").public_bytes(serialization.Encoding.DER))
    der[der.index(b"a/b")] = ord("c")
    token = city.new_token("c/b", hours=1, now=NOW)
    with pytest.raises(Refused, match="not signed by the key in it"):
        city.enrol(x509.load_der_x509_csr(bytes(der)), token, now=NOW)


def test_of_many_at_once_with_one_token_one_gets_a_certificate(city: Authority) -> None:
    token = city.new_token("a/b", hours=1, now=NOW)
    refused: list[str] = []

    def ask() -> None:
        try:
            city.enrol(make_request(new_key(), "a/b"), token, now=NOW)
        except Refused as exc:
            refused.append(str(exc))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["this token has been used"] * 7
    assert [one.name for one in city.issued()] == ["a/b"]


def test_a_new_token_ends_the_one_before(city: Authority) -> None:
    first, second = (city.new_token("a/b", hours=1, now=NOW) for _ in range(2))
    with pytest.raises(Refused, match="not known"):
        city.enrol(make_request(new_key(), "a/b"), first, now=NOW)
    assert city.enrol(make_request(new_key(), "a/b"), second, now=NOW)


def test_tokens_are_not_kept(city: Authority) -> None:
    token = city.new_token("a/b", hours=1, now=NOW)
    with closing(sqlite3.connect(city.folder / "ca.db")) as db:
        rows = str(db.execute("select * from token").fetchall())
    assert token not in rows
    assert token.replace("-", "") not in rows


def test_the_list_names_what_is_revoked_until_that_is_over(city: Authority) -> None:
    box, other = enrolled(city, "a/b"), enrolled(city, "a/c")
    assert listed(city) == set()
    assert city.revoke("a/b", "key_compromise", now=NOW) == [f"{box.serial_number:x}"]
    assert listed(city) == {box.serial_number}
    assert city.revoke(f"{other.serial_number:x}", "unspecified", now=NOW) != []
    assert listed(city) == {box.serial_number, other.serial_number}
    city.write_crl(now=NOW + timedelta(days=366))
    assert listed(city) == set()


def test_the_list_holds_one_of_each_authority_and_its_number_grows(city: Authority) -> None:
    def numbers() -> list[tuple[x509.Name, int]]:
        parts = (city.folder / "crl.pem").read_bytes().split(b"-----BEGIN")[1:]
        crls = [x509.load_pem_x509_crl(b"-----BEGIN" + part) for part in parts]
        return [(crl.issuer, crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number) for crl in crls]

    before = numbers()
    city.write_crl(now=NOW)
    after = numbers()
    assert [issuer for issuer, _ in after] == [city.issuing.subject, city.root.subject]
    assert after[0][1] == before[0][1] + 1


def test_a_revoked_box_is_renewed_no_more_and_its_open_token_is_over(city: Authority) -> None:
    box = enrolled(city, "a/b")
    token = city.new_token("a/b", hours=1, now=NOW)
    city.revoke("a/b", "cessation_of_operation", now=NOW)
    with pytest.raises(Refused, match="was revoked"):
        city.enrol_again(make_request(new_key(), "a/b"), box, now=NOW)
    with pytest.raises(Refused, match="not known"):
        city.enrol(make_request(new_key(), "a/b"), token, now=NOW)
    with pytest.raises(CaError, match="no certificate that is valid"):
        city.revoke("a/b", "superseded", now=NOW)


def test_only_a_boxs_certificate_is_renewed(city: Authority) -> None:
    client = city.client("ioc", now=NOW).certificate
    with pytest.raises(Refused):
        city.enrol_again(make_request(new_key(), "a/b"), client, now=NOW)


def test_a_box_that_does_not_renew_in_time_is_seen_at_the_centre(city: Authority) -> None:
    box = enrolled(city, "a/b")
    later = NOW + timedelta(days=250)
    assert [one.state(NOW) for one in city.issued()] == ["valid"]
    assert [one.state(later) for one in city.issued()] == ["valid, renewal is due"]
    city.enrol_again(make_request(new_key(), "a/b"), box, now=later)
    assert [one.state(later) for one in city.issued()] == ["valid, renewed", "valid"]
    assert [one.state(NOW + timedelta(days=366)) for one in city.issued()] == ["expired", "valid"]


def test_a_damaged_folder_is_told(city: Authority, tmp_path: Path) -> None:
    with pytest.raises(CaError, match="No such file"):
        Authority(tmp_path / "absent")
    (city.folder / "issuing.crt").write_bytes(b"")
    with pytest.raises(CaError, match="damaged"):
        Authority(city.folder)
