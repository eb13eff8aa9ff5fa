"""Ed25519: keys of people who sign updates and commands, and signatures over an update's manifest.

`cryptography` does it. python-tuf and securesystemslib (MIT/Apache-2.0, pure, 0.9 MB) were looked at: TUF verifies a
repository of four roles that it fetches and refreshes by the clock, and a file on a stick has no repository; its ideas
are in trust.py and verify.py, and what securesystemslib would add around these few calls is keys in clouds and tokens.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

# So that a signature made for anything else is never one of an update's.
_PURPOSE = b"gateway-agent update 1\n"


def key_id(public_hex: str) -> str:
    """Short name of a public key, in signatures."""
    return hashlib.sha256(bytes.fromhex(public_hex)).hexdigest()[:16]


def is_signed(public_hex: str, manifest: bytes, signature_hex: str) -> bool:
    try:
        signature = bytes.fromhex(signature_hex)
        public_key(public_hex).verify(signature, _PURPOSE + manifest)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key(public_hex: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def from_seed(seed: bytes) -> Ed25519PrivateKey:
    """seed: 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def sign(key: Ed25519PrivateKey, manifest: bytes) -> str:
    """Hexadecimal."""
    return key.sign(_PURPOSE + manifest).hex()


def public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


def to_pem(key: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def from_pem(data: bytes, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Raises ValueError for what is no Ed25519 key, or not under this passphrase."""
    try:
        key = load_pem_private_key(data, passphrase or None)
    except TypeError as exc:  # it has a passphrase and none was given, or the other way round
        raise ValueError(str(exc)) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"it is a {type(key).__name__}; wanted an Ed25519 key")
    return key
