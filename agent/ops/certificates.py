"""Until when certificates are valid, for `doctor`. Whether they are to be trusted, TLS itself decides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from agent.ops.findings import Finding, finding

SOON_DAYS = 14  # a certificate that renews itself is renewed long before


def judge_own(path: Path, now: datetime, name: str | None = None) -> Iterator[Finding]:
    """Of this box's certificate, which stands before its intermediates. now: with its time zone.

    name: the common name that it must have; None: any. What cannot be read is not told here: the link says so better.
    """
    ours = _found(path)
    if not ours:
        return
    yield from _judge(ours[0], path, now)
    names = [str(one.value) for one in ours[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if name is not None and name not in names:
        yield finding("cert-name", str(path), path=path, is_for=", ".join(names) or "-", wanted=name)


def judge_authorities(path: Path, now: datetime) -> Iterator[Finding]:
    """The one that is valid longest counts: old authorities may stay beside the new ones."""
    authorities = _found(path)
    if authorities:
        yield from _judge(max(authorities, key=lambda one: one.not_valid_after_utc), path, now)


def days_left(der: bytes, now: datetime) -> int:
    """Whole days, negative once it has expired."""
    return (x509.load_der_x509_certificate(der).not_valid_after_utc - now).days


def _found(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []


def _judge(one: x509.Certificate, path: Path, now: datetime) -> Iterator[Finding]:
    begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
    if now > ends:
        yield finding("cert-expired", str(path), path=path, date=f"{ends:%Y-%m-%d %H:%M} UTC")
    elif now < begins:
        yield finding(
            "cert-not-yet", str(path), path=path, date=f"{begins:%Y-%m-%d %H:%M} UTC", now=f"{now:%Y-%m-%d %H:%M} UTC"
        )
    elif (days := (ends - now).days) < SOON_DAYS:
        yield finding("cert-soon", str(path), path=path, days=days, date=f"{ends:%Y-%m-%d}", wanted=SOON_DAYS)
