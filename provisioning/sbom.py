"""The bill of materials of what runs on a box: libraries from the locks, model packs from their manifests (CycloneDX).

    python provisioning/sbom.py           write provisioning/sbom.cdx.json anew; after lock.sh, or when a pack changed
    python provisioning/sbom.py --check   exit 1 if it is not what it would be now

The same input gives the same bytes, so that a test can hold the file to the locks: no time and no random number in it.
What the operating system brings (Python, GStreamer, libcamera) is Debian's to list, and not in here.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
SBOM = HERE / "sbom.cdx.json"
LOCKS = ("requirements.lock", "requirements-gpio.lock", "requirements-bundle.lock")
"""Of what is installed on a box; the first is what every box runs."""

# As SPDX writes them, read in each library's own licence file: what its metadata says is often loose ("BSD") and knows
# nothing of what is packed into a wheel. A library that is not in here stops the script.
LICENCES = {
    "ai-edge-litert": "Apache-2.0",
    "annotated-types": "MIT",
    "anyio": "MIT",
    "backports-strenum": "MIT AND PSF-2.0",
    "cbor2": "MIT",
    "cffi": "MIT-0",
    "click": "BSD-3-Clause",
    "colorama": "BSD-3-Clause",
    "cryptography": "Apache-2.0 OR BSD-3-Clause",
    "flatbuffers": "Apache-2.0",
    "gpiod": "LGPL-2.1-or-later",
    "h11": "MIT",
    "idna": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "markupsafe": "BSD-3-Clause",
    "ml-dtypes": "Apache-2.0 AND MPL-2.0",  # Eigen
    "numpy": "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0 AND GPL-3.0-or-later WITH GCC-exception-3.1",
    "opencv-python-headless": "Apache-2.0 AND MIT AND LGPL-2.1-or-later",  # FFmpeg is in the wheel
    "paho-mqtt": "EPL-2.0 OR BSD-3-Clause",
    "pip": "MIT",
    "prometheus-client": "Apache-2.0 AND BSD-2-Clause",
    "protobuf": "BSD-3-Clause",
    "pycparser": "BSD-3-Clause",
    "pydantic": "MIT",
    "pydantic-core": "MIT",
    "pyjwt": "MIT",
    "pymodbus": "BSD-3-Clause",
    "pynmea2": "MIT",
    "pyserial": "BSD-3-Clause",
    "setuptools": "MIT",
    "smbus2": "MIT",
    "starlette": "BSD-3-Clause",
    "tenacity": "Apache-2.0",
    "tflite-runtime": "Apache-2.0",
    "tomlkit": "MIT",
    "tqdm": "MPL-2.0 AND MIT",
    "typing-extensions": "PSF-2.0",
    "typing-inspection": "MIT",
    "uvicorn": "BSD-3-Clause",
    # The runtime library of GCC's Fortran is in the wheel; its exception lets any program use it.
}


@dataclass(frozen=True)
class Locked:
    """marker: on which machines it is installed; "" for all."""

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]


def read_lock(path: Path) -> list[Locked]:
    """Raises ValueError for a line that it does not understand: what is left out of a bill nobody would miss."""
    found: list[Locked] = []
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in filter(None, map(str.strip, joined.splitlines())):
        match = re.fullmatch(r"([\w.-]+)==([\w.+]+)(?: ; (.*?))?((?:\s+--hash=sha256:[0-9a-f]{64})+)", line)
        if match is None:
            raise ValueError(f"{path}: {line[:80]!r}; wanted NAME==VERSION [; MARKER] --hash=sha256:…")
        name, version, marker, hashes = match.groups()
        found.append(Locked(name, version, (marker or "").strip(), tuple(re.findall(r"[0-9a-f]{64}", hashes))))
    return found


def libraries() -> Iterator[Component]:
    """Required is what the agent imports; optional what GPIO lines need, and what puts a bundle onto a board."""
    seen: set[Locked] = set()
    for lock in LOCKS:
        for one in read_lock(HERE / lock):
            if one in seen:
                continue
            seen.add(one)
            if one.name not in LICENCES:
                raise ValueError(f"{one.name} {one.version}: no licence known; read it, then add it to LICENCES here")
            yield _library(one, lock)


def _library(one: Locked, lock: str) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=one.name,
        version=one.version,
        bom_ref=f"pkg:pypi/{one.name}@{one.version}",
        purl=PackageURL("pypi", None, one.name, one.version),
        scope=ComponentScope.REQUIRED if lock == LOCKS[0] else ComponentScope.OPTIONAL,
        licenses=[LicenseExpression(LICENCES[one.name])],
        # There is one hash for each wheel, so they belong to the places it comes from and not to the library.
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(f"provisioning/{lock}#{one.name}"),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in one.sha256],
            )
        ],
        properties=[Property(name="gateway-agent:marker", value=one.marker)] if one.marker else [],
    )


def packs() -> Iterator[Component]:
    for manifest in sorted(TOP.glob("models/*/manifest.toml")):
        data = tomllib.loads(manifest.read_text(encoding="utf-8"))
        yield Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=data["name"],
            version=data["version"],
            bom_ref=f"model:{data['name']}@{data['version']}",
            description=data["summary"],
            licenses=[LicenseExpression(data["licence"])],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=data["weights"]["sha256"])],
            properties=[Property(name=f"gateway-agent:{name}", value=value) for name, value in _more(data)],
        )


def _more(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The pack's other files, and the file that its weights were made from."""
    for part in ("anchors", "labels"):
        if part in data:
            yield f"sha256:{data[part]['file']}", data[part]["sha256"]
    source = data["provenance"]
    yield "made-from", f"{source['package']} {source['version']} sha256:{source['sha256']}"


def make() -> str:
    """The file's text."""
    version = re.search(r'__version__ = "(.+?)"', (TOP / "agent" / "__init__.py").read_text(encoding="utf-8"))
    assert version is not None
    root = Component(
        type=ComponentType.APPLICATION,
        name="gateway-agent",
        version=version[1],
        bom_ref="gateway-agent",
        licenses=[LicenseExpression("Apache-2.0")],
    )
    components = [*libraries(), *packs()]
    bom = Bom(components=components, serial_number=uuid.UUID(int=0))
    bom.metadata.component = root
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.register_dependency(root, components)
    # Of the content, so that two bills are the same if and only if their numbers are.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, JsonV1Dot6(bom).output_as_string())
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the bill of materials, provisioning/sbom.cdx.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is stale")
    args = parser.parse_args()
    text = make()
    if args.check:
        is_fresh = SBOM.exists() and SBOM.read_text(encoding="utf-8") == text
        print(f"{SBOM.name}: {'fresh' if is_fresh else 'stale; run python provisioning/sbom.py'}")
        return 0 if is_fresh else 1
    SBOM.write_text(text, encoding="utf-8")
    print(f"{SBOM.name}: {text.count('bom-ref')} parts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
