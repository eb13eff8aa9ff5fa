"""What an authority answers, and what is on the box's disk: certificates in PKCS#7, and the pair in PEM."""

from __future__ import annotations

import base64
import random
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from agent.identity.certificate import (
    Pair,
    belong_together,
    chain,
    common_name,
    is_root,
    make_request,
    new_key,
    read_pair,
    renewal_is_due,
)
from agent.identity.est import read_answer
from provisioning.ca.authority import Refused, create, read_request
from tests.fuzz.damage import damaged
from tests.fuzz.run import Outcome, Target

_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_DER = (
    b"\x30\x00",
    b"\x30\x80",
    b"\x00\x00",
    b"\x02\x01\xff",
    b"\x06\x03\x55\x04\x03",
    b"\x30\x84\xff\xff\xff\xff",
    b"\xa0" * 200,
)
_PEM = (b"-----BEGIN CERTIFICATE-----", b"-----END PRIVATE KEY-----\n", b"\n", b"====", b"\r", b"\x00", b"MIIB" * 40)


def targets() -> list[Target]:
    """Nothing that was changed on the way is taken for what an authority signed."""
    with tempfile.TemporaryDirectory(prefix="fuzz-ca-") as folder:
        city = create(Path(folder) / "ca", "Test city", b"correct horse battery", now=_NOW)
        key = new_key()
        leaf = city.sign(make_request(key, "cua-bac/gw-01"), "cua-bac/gw-01", now=_NOW)
    everything = [leaf, city.issuing, city.root]
    answer = pkcs7.serialize_certificates(everything, Encoding.DER)
    stored = Pair(key, (leaf, city.issuing)).pem()

    def answers(chance: random.Random) -> Outcome:
        body = base64.encodebytes(damaged(answer, chance, _DER))
        if chance.random() < 0.1:
            body = damaged(base64.encodebytes(answer), chance, _PEM)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of certificates that are odd and can be read
            try:
                found = read_answer(body)
            except ValueError:
                return Outcome.REFUSED
            ours = [one for one in found if belong_together(key, one)]
            for one in found:
                is_root(one)
                common_name(one.subject)
            if not ours:
                return Outcome.NOTHING
            renewal_is_due(ours[0], _NOW)
            try:
                way = chain(ours[0], found, [city.root])
            except ValueError:
                return Outcome.REFUSED
        assert way[0].tbs_certificate_bytes == leaf.tbs_certificate_bytes, body
        return Outcome.TAKEN

    def pairs(chance: random.Random) -> Outcome:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read_pair(damaged(stored, chance, _PEM))
            except ValueError:
                return Outcome.REFUSED
        assert belong_together(found.key, found.certificate)
        renewal_is_due(found.certificate, _NOW)
        return Outcome.TAKEN

    asked = make_request(key, "cua-bac/gw-01")

    def requests(chance: random.Random) -> Outcome:
        """The authority's side: a request that was changed is not signed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read_request(damaged(asked.public_bytes(Encoding.DER), chance, _DER))
            except Refused:
                return Outcome.REFUSED
        assert found.tbs_certrequest_bytes == asked.tbs_certrequest_bytes
        return Outcome.TAKEN

    return [Target("est answers", answers), Target("box.pem", pairs), Target("est requests", requests)]
