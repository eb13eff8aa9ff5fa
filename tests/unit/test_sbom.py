"""The bill of materials is that of the locks and packs, is CycloneDX, and holds nothing under a licence we refuse."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import LicenseSymbol, LicenseWithExceptionSymbol, get_spdx_licensing

TOP = Path(__file__).resolve().parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", TOP / "provisioning" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


sbom = load()
TEXT = (TOP / "provisioning" / "sbom.cdx.json").read_text(encoding="utf-8")
COMPONENTS: list[dict[str, Any]] = json.loads(TEXT)["components"]


def licence(component: dict[str, Any]) -> str:
    (one,) = component["licenses"]
    return str(one["expression"])


def refused(expression: str) -> list[str]:
    """Licences in it that ask for the source of the whole; one with an exception that takes this back does not."""
    parsed = get_spdx_licensing().parse(expression, validate=True)
    plain = [one for one in parsed.get_literals() if isinstance(one, LicenseSymbol)]
    return [
        one.key
        for one in plain
        if one.key.startswith(("GPL", "AGPL"))
        and not (isinstance(one, LicenseWithExceptionSymbol) and one.exception_symbol.key == "GCC-exception-3.1")
    ]


def test_the_bill_is_what_locks_and_packs_make_of_it() -> None:
    assert sbom.make() == TEXT, "stale: run python provisioning/sbom.py"


def test_the_bill_is_what_the_schema_of_cyclonedx_wants() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(TEXT) is None


def test_every_library_of_the_locks_and_every_pack_is_in_the_bill() -> None:
    found = {(one["name"], one["version"]) for one in COMPONENTS}
    for lock in sbom.LOCKS:
        named = [line.split(" ")[0] for line in (TOP / "provisioning" / lock).read_text().splitlines() if "==" in line]
        assert len(named) > 1
        assert {tuple(name.split("==")) for name in named} <= found
    assert {path.parent.name for path in TOP.glob("models/*/manifest.toml")} <= {name for name, _ in found}


def test_a_pack_stands_there_with_the_hash_of_its_weights_and_its_licence() -> None:
    models = [one for one in COMPONENTS if one["type"] == "machine-learning-model"]
    assert [(one["hashes"][0]["alg"], len(one["hashes"][0]["content"]), licence(one)) for one in models] == [
        ("SHA-256", 64, "Apache-2.0")
    ] * 2


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda one: one["bom-ref"])
def test_what_a_box_runs_is_under_no_licence_that_we_refuse(component: dict[str, Any]) -> None:
    assert refused(licence(component)) == []


def test_a_copyleft_licence_would_be_refused() -> None:
    assert refused("MIT AND AGPL-3.0-only") == ["AGPL-3.0-only"]
    assert refused("GPL-2.0-or-later") == ["GPL-2.0-or-later"]
    assert refused("GPL-3.0-or-later WITH GCC-exception-3.1 AND LGPL-2.1-only") == []


def test_what_libraries_say_of_their_own_licence_is_in_the_bill() -> None:
    """Those that are installed here and say it in SPDX's words: whatever they name is in ours, too."""
    spdx = get_spdx_licensing()
    compared = 0
    for name in sbom.LICENCES:
        try:
            said = metadata(name).get("License-Expression")
        except PackageNotFoundError:  # for another processor or system
            continue
        if said is not None:
            compared += 1
            assert set(spdx.license_keys(said)) <= set(spdx.license_keys(sbom.LICENCES[name])), name
    assert compared > 8


def test_a_line_of_a_lock_that_is_not_understood_stops_the_bill(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy @ file:///elsewhere/numpy.whl\n")
    with pytest.raises(ValueError, match=r"numpy @ file.*wanted NAME==VERSION"):
        sbom.read_lock(lock)
