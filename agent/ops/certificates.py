"""Until when certificates are valid, for `doctor`. Whether they are to be trusted, TLS itself decides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509

from agent.ops.findings import Finding, finding

SOON_DAYS = 14  # a certificate that renews itself is renewed long before


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Raises ValueError if it is no PEM file of certificates, OSError if it cannot be read."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def judge_file(path: Path, now: datetime) -> Iterator[Finding]:
    """Of a file with several, the one that is valid longest counts: old authorities may stay beside the new ones.

    now: with its time zone. What cannot be read is not told here: the link says so better.
    """
    try:
        found = certificates_in(path)
    except (OSError, ValueError):
        return
    best = max(found, key=lambda one: one.not_valid_after_utc)
    begins, ends = best.not_valid_before_utc, best.not_valid_after_utc
    if now > ends:
        yield finding("cert-expired", str(path), path=path, date=f"{ends:%Y-%m-%d %H:%M} UTC")
    elif now < begins:
        yield finding(
            "cert-not-yet", str(path), path=path, date=f"{begins:%Y-%m-%d %H:%M} UTC", now=f"{now:%Y-%m-%d %H:%M} UTC"
        )
    elif (days := (ends - now).days) < SOON_DAYS:
        yield finding("cert-soon", str(path), path=path, days=days, date=f"{ends:%Y-%m-%d}", wanted=SOON_DAYS)
