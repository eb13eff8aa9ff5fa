"""The diagnostics bundle: texts about a box in one .tar.gz that may be sent to somebody else.

Two nets keep secrets out, since either alone has holes: every secret that this box knows is taken out of every text in
each form in which it may stand there; and what looks like one (a login in an address, password = …, a private key) is
taken out whether it is known or not. Bounded in size: of each text the end is kept, where what happened last stands.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
import tomllib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

from agent.errors import GatewayError

MAX_PART_BYTES = 512 * 1024
GONE = "…"

_WORD_ONLY_BELOW = 4  # a shorter secret is taken out where it stands alone: else "1" would take every 1 of the text
_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    (re.compile(r"(\w://)[^\s/\"'<>]*@"), rf"\1{GONE}@"),
    (re.compile(r"(?i)(\bauthorization\"?\s*[:=]\s*)[^\r\n]+"), rf"\1{GONE}"),
    (
        re.compile(
            r"(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|credentials?)[\"']?\s*[:=]\s*)"
            r"(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s&,;\"']+)"
        ),
        rf"\1{GONE}",
    ),
)


# In the configuration, read as text: one with a mistake in it has secrets all the same.
_NAMES_A_FILE = re.compile(r"""\b\w*_file\s*=\s*["']([^"']+)["']""")
_NAMES_THE_IDENTITY = re.compile(r"""\bidentity\s*=\s*["']([^"']+)["']""")
_IS_TYPED_IN = re.compile(r"""(?i)(?:pass(?:word|wd)?|pwd|secret|token|key)\w*\s*=\s*["']([^"']+)["']""")
_LOGIN = re.compile(r"//([^/\s@:]*):([^/\s\"']+)@")
_IN_AN_ADDRESS = re.compile(r"""[?&][^=&\s"']+=([^&\s"']{6,})""")  # "=1" and "=sub" are no logins
_OF_THE_ENVIRONMENT = re.compile(r"(?i)pass|secret|token|key|cred|pwd")
_IDENTITY = Path("/var/lib/gateway-agent/identity")


def known_secrets(config_path: Path, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Every secret that this box knows of, as far as this user may read it: of the files that the configuration names,
    of those in the folder `credentials` beside it, of its identity, of systemd's credentials, of the environment; and
    what was typed into the configuration where it does not belong."""
    config = _read(config_path)
    files = [Path(name) for name in _NAMES_A_FILE.findall(config) if not name.endswith((".crt", "ca.pem"))]
    folders = [config_path.parent / "credentials", *map(Path, _NAMES_THE_IDENTITY.findall(config)), _IDENTITY]
    if environment.get("CREDENTIALS_DIRECTORY"):
        folders.append(Path(environment["CREDENTIALS_DIRECTORY"]))
    for folder in folders:
        with suppress(OSError):  # is not there, or not for this user
            files += sorted(file for file in folder.iterdir() if file.name != "ca.pem")
    secrets = [value for name, value in environment.items() if _OF_THE_ENVIRONMENT.search(name)]
    secrets += [value for value in _IS_TYPED_IN.findall(config) if not value.startswith("/")]
    secrets += [part for login in _LOGIN.findall(config) for part in (login[1], ":".join(login))]
    secrets += _IN_AN_ADDRESS.findall(config)
    for file in files:
        text = _read(file)
        secrets += _login_in(text) or [text]
    return secrets


def _login_in(text: str) -> list[str]:
    """Of a credentials file: its password, alone and with the user. The user alone is a word like any other."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return []
    values = [str(value) for name, value in data.items() if name != "user"]
    return [form for value in values for form in (value, f"{data.get('user', '')}:{value}")]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class Redactor:
    """secrets: as they are, of one line or more; of several lines each counts, too."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for text in {secret, secret.strip(), *secret.splitlines()}:
                forms |= _forms(text)
        self._forms = sorted(forms - {""}, key=len, reverse=True)  # the longest first: one may hold another

    def __call__(self, text: str) -> str:
        for form in self._forms:
            if len(form) < _WORD_ONLY_BELOW:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", GONE, text)
            else:
                text = text.replace(form, GONE)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


def _forms(secret: str) -> set[str]:
    """As it is, in an address, in JSON, and in base64 at any of the three places where it may begin."""
    if not secret:
        return set()
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    if len(secret) >= _WORD_ONLY_BELOW:
        for before in range(3):
            for encode in (b64encode, urlsafe_b64encode):
                # The characters that also hold bits of the neighbours are left aside.
                whole = encode(b"\0" * before + secret.encode()).decode()
                forms.add(whole.rstrip("=")[(0, 2, 3)[before] : -1])
    return forms


class Bundle:
    """Texts by name. Nothing comes in but through the redactor."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._parts: dict[str, bytes] = {}

    def add(self, name: str, text: str) -> None:
        # Before it is cut: the beginning of a secret that is cut in two would not be known for one.
        data = self._redact(text).encode(errors="replace")
        if len(data) > MAX_PART_BYTES:
            data = b"[the beginning was cut off]\n" + data[-MAX_PART_BYTES:].partition(b"\n")[2]
        self._parts[name] = data

    def write(self, path: Path) -> None:
        """Readable by its owner alone: it still tells addresses and names. Raises GatewayError."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, data in self._parts.items():
                entry = tarfile.TarInfo(f"gateway-agent/{name}")
                entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
                tar.addfile(entry, io.BytesIO(data))
        try:
            new = path.with_name(path.name + ".new")
            new.unlink(missing_ok=True)  # its mode, or where a link leads, would count
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(packed.getvalue())
            new.replace(path)
        except OSError as exc:
            raise GatewayError(
                f"{path}: cannot write the bundle: {exc.strerror}; name a file in another folder"
            ) from exc
