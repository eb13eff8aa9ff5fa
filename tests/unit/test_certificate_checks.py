"""Certificates are always checked: nothing in what a box runs switches that off, and no key can."""

from __future__ import annotations

import ast
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import BrokerConfig
from agent.tls import client_context
from tests.support.authority import Authority

TOP = Path(__file__).resolve().parents[2]
# What makes ssl, paho, urllib or requests believe anybody.
# RFC 7030, 4.1.1: the authority's own certificate comes from whoever answers, and counts for nothing until a person's
# fingerprint says so; no token is told before.
UNPROVEN = "authorities_unproven"
SWITCHES = {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "tls_insecure_set", "_create_stdlib_context"}


def walk_but(node: ast.AST, function: str) -> Iterator[ast.AST]:
    """All of the tree but what is in the function of that name."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.FunctionDef) and child.name == function):
            yield from walk_but(child, function)


def switched_off(source: str) -> Iterator[str]:
    for node in walk_but(ast.parse(source), UNPROVEN):
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name in SWITCHES:
                yield name
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            is_false = isinstance(node.value, ast.Constant) and not node.value.value
            if node.targets[0].attr in ("check_hostname", "verify_mode") and is_false:
                yield node.targets[0].attr
        if isinstance(node, ast.keyword) and node.arg in ("verify", "check_hostname", "cert_reqs"):
            yield node.arg


@pytest.mark.parametrize("path", sorted(p for d in ("agent", "drivers") for p in (TOP / d).rglob("*.py")), ids=str)
def test_nothing_switches_the_check_of_certificates_off(path: Path) -> None:
    assert list(switched_off(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "context.check_hostname = False",
        "context.verify_mode = ssl.CERT_NONE",
        "client.tls_insecure_set(True)",
        "requests.get(url, verify=False)",
        "context = ssl._create_unverified_context()",
    ],
)
def test_each_way_of_switching_it_off_would_be_seen(source: str) -> None:
    assert list(switched_off(source)) != []


def test_the_one_place_where_nobody_is_believed_yet_is_still_there_and_is_the_only_one() -> None:
    """test_identity shows that what comes from there is held against the fingerprint."""
    named = [
        path.relative_to(TOP).as_posix()
        for folder in ("agent", "drivers")
        for path in (TOP / folder).rglob("*.py")
        if f"def {UNPROVEN}(" in path.read_text(encoding="utf-8")
    ]
    assert named == ["agent/identity/est.py"]


def test_no_key_of_a_broker_switches_it_off() -> None:
    """tls = false is no TLS at all, which doctor tells; there is nothing between that and a whole check."""
    assert set(BrokerConfig.model_fields) == {"host", "port", "tls", "ca_file", "cert_file", "key_file"}


@pytest.mark.parametrize("is_set", [True, False], ids=["the clock is set", "the clock is not set"])
def test_name_and_authority_are_checked_with_any_clock(
    tmp_path: Path, is_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.tls.machine_clock_is_set", lambda: is_set)
    context = client_context(Authority(tmp_path, "city").file)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
