"""Model packs: a folder with manifest.toml, a network's weights and its labels, checked whole before it is used.

This is a door: the manifest is a human's text and is read strictly (an unknown key is an error), every file is held to
its SHA-256, and the network's tensors are held to what the manifest says of them. What comes out is a ModelPack that
can be trusted. How to make one is in models/README.md.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drivers.base import CLASSES, ModelPackError
from drivers.inference.decode import (
    ClassColumns,
    Decoder,
    HeadMismatch,
    SsdPostprocess,
    SsdRaw,
    TensorSpec,
    Yolo,
)
from drivers.inference.runtime import open_interpreter

MANIFEST = "manifest.toml"
# Where bundled packs live: those that came as updates, beside the releases; beside the sources; and where an installed
# wheel puts its data files.
BUNDLED = (
    Path(sys.prefix, "..", "..", "packs"),
    Path(__file__).resolve().parents[2] / "models",
    Path(sys.prefix) / "share" / "gateway-agent" / "models",
)
_REINSTALL = "fetch or build the pack again, or install the package again"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeldFile(_Table):
    """A file of the pack and the SHA-256 it must have."""

    file: str = Field(min_length=1, pattern=r"^[^/\\]+$", description="a name inside the pack's folder")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Labels(HeldFile):
    """One label a line; line i (from 0) is label i of the network, background not counted. "???" marks a gap."""

    map: dict[str, Literal["person", "bicycle", "motorcycle", "car", "bus", "truck"]] = Field(
        min_length=1, description="label -> what the agent counts it as; labels not named here are dropped"
    )


class InputTensor(_Table):
    """What the network wants to be fed."""

    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)
    channels: Literal["rgb", "bgr"]
    dtype: Literal["uint8", "int8", "float32"]
    scale: float = Field(gt=0, description="what the network was trained on = pixel (0..255) * scale + offset")
    offset: float
    resize: Literal["stretch", "letterbox"] = Field(
        description="stretch: both sides to fit; letterbox: keep the aspect, pad with grey (114)"
    )


class SsdRawHead(_Table):
    kind: Literal["ssd-raw"]
    outputs: tuple[Literal["boxes", "scores"], Literal["boxes", "scores"]] = ("boxes", "scores")
    variances: tuple[float, float, float, float] = Field(description="vy, vx, vh, vw that box encodings are divided by")
    score_activation: Literal["none", "sigmoid"]
    background: bool = Field(description="score column 0 is the background")
    nms_iou: float = Field(gt=0, le=1)


class SsdPostprocessHead(_Table):
    kind: Literal["ssd-postprocess"]
    outputs: tuple[
        Literal["boxes", "classes", "scores", "count"],
        Literal["boxes", "classes", "scores", "count"],
        Literal["boxes", "classes", "scores", "count"],
        Literal["boxes", "classes", "scores", "count"],
    ] = ("boxes", "classes", "scores", "count")


class YoloHead(_Table):
    kind: Literal["yolo-v5", "yolo-v8"]
    box_units: Literal["fraction", "pixels"]
    score_activation: Literal["none", "sigmoid"]
    nms_iou: float = Field(gt=0, le=1)


class YoloXHead(_Table):
    kind: Literal["yolo-x"]
    strides: tuple[int, ...] = Field((8, 16, 32), min_length=1)
    score_activation: Literal["none", "sigmoid"]
    nms_iou: float = Field(gt=0, le=1)


class Provenance(_Table):
    """Where the network came from before it was converted."""

    package: str = Field(description="registry and name, such as npm:some-package")
    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the package's archive")
    recipe: str = Field(description="what turned it into these weights")


class Manifest(_Table):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    version: str
    summary: str
    licence: str = Field(min_length=1, description="SPDX expression of the weights")
    quantisation: Literal["int8", "float16", "float32"]
    weights: HeldFile
    variant: dict[str, HeldFile] = Field(
        default_factory=dict, description="accelerator -> the same network compiled for it; see models/README.md"
    )
    anchors: HeldFile | None = None
    labels: Labels
    input: InputTensor
    decoder: Annotated[SsdRawHead | SsdPostprocessHead | YoloHead | YoloXHead, Field(discriminator="kind")]
    provenance: Provenance
    accuracy: dict[str, Any] = Field(default_factory=dict, description="free: what was measured, on what")


@dataclass(frozen=True, slots=True, eq=False)
class ModelPack:
    """A pack whose files have been read, held to their hashes, and fit together.

    variant: whose weights these are: None for the pack's own, else a name among the manifest's variants.
    weights: the bytes that were hashed, so that what runs is what was checked.
    outputs: the network's output tensors, in its own order.  decoder: built for them.
    input_raw: uint8 (256,), for a pixel value the byte to put into the input tensor; None for float inputs.
    """

    path: Path
    manifest: Manifest
    variant: str | None
    weights: bytes
    outputs: tuple[TensorSpec, ...]
    decoder: Decoder
    input_raw: npt.NDArray[np.uint8] | None

    @property
    def label(self) -> str:
        """Name and version, for health and logs."""
        return f"{self.manifest.name} {self.manifest.version}"


def find_pack(name_or_path: str | Path) -> Path:
    """The folder of a pack: a path as it is, or the name of a bundled pack. Raises ModelPackError if there is none."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text:
        return Path(name_or_path)
    for root in BUNDLED:
        if (root / text / MANIFEST).is_file():
            return root / text
    bundled = list_packs()
    raise ModelPackError(
        f"model pack {text!r}: no such bundled pack; bundled are: {', '.join(bundled) or 'none'} "
        f"(looked in {', '.join(map(str, BUNDLED))}); give one of them, or a path with a slash in it such as ./{text}"
    )


def list_packs() -> list[str]:
    """The names of the bundled packs."""
    return sorted({manifest.parent.name for root in BUNDLED for manifest in root.glob(f"*/{MANIFEST}")})


def load_pack(path: str | Path, *, variant: str | None = None) -> ModelPack:
    """Read and check a pack. Raises ModelPackError naming pack, file, what was found, wanted, and what to do.

    variant: take the weights made for this accelerator, where the pack has some; else its own.
    """
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise ModelPackError(f"model pack {path}: found {found}; wanted a folder with {MANIFEST}; check the path")
    manifest = _read_manifest(path)
    variant = variant if variant in manifest.variant else None
    held = manifest.weights if variant is None else manifest.variant[variant]
    weights = _read_held(path, held)
    columns = _columns(path, manifest, _read_held(path, manifest.labels))
    anchors = _anchors(path, manifest)
    inputs, outputs = _tensors(path, held.file, weights)
    input_raw = _check_input(path, manifest, held.file, inputs)
    try:
        decoder = _decoder(manifest, outputs, columns, anchors)
    except HeadMismatch as exc:
        raise ModelPackError(
            f"model pack {path}: {held.file}: {exc}; decoder.kind is {manifest.decoder.kind!r}: "
            f"correct [decoder], [labels] or [anchors] in {MANIFEST}, or the weights"
        ) from exc
    return ModelPack(path, manifest, variant, weights, outputs, decoder, input_raw)


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        return Manifest.model_validate(tomllib.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        raise ModelPackError(f"model pack {path}: no {MANIFEST} in it; is this the pack's folder?") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ModelPackError(f"model pack {path}: cannot read {MANIFEST}: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ModelPackError(f"model pack {path}: {MANIFEST} is not TOML: {exc}; correct that line") from exc
    except ValidationError as exc:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']} (found {_short(e['input'])})"
            for e in exc.errors()
        )
        raise ModelPackError(f"model pack {path}: {MANIFEST}: {problems}; see models/README.md for the keys") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _read_held(path: Path, held: HeldFile) -> bytes:
    file = path / held.file
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise ModelPackError(f"model pack {path}: {held.file} is missing; {MANIFEST} names it; {_REINSTALL}") from None
    except OSError as exc:
        raise ModelPackError(f"model pack {path}: cannot read {held.file}: {exc}") from exc
    found = hashlib.sha256(data).hexdigest()
    if found != held.sha256:
        raise ModelPackError(
            f"model pack {path}: {held.file} is damaged or was changed: sha256 {found}, {len(data)} bytes; "
            f"wanted {held.sha256}; {_REINSTALL}"
        )
    return data


def _columns(path: Path, manifest: Manifest, text: bytes) -> ClassColumns:
    names = text.decode("utf-8", "replace").splitlines()
    missing = sorted(set(manifest.labels.map) - set(names))
    if missing:
        raise ModelPackError(
            f"model pack {path}: labels.map names {', '.join(map(repr, missing))}; not among the {len(names)} labels "
            f"of {manifest.labels.file}; correct the spelling in {MANIFEST}"
        )
    counted = [(i, CLASSES.index(manifest.labels.map[n])) for i, n in enumerate(names) if n in manifest.labels.map]
    return ClassColumns(tuple(i for i, _ in counted), tuple(c for _, c in counted), len(names))


def _anchors(path: Path, manifest: Manifest) -> npt.NDArray[np.float32] | None:
    wanted = manifest.decoder.kind == "ssd-raw"
    if manifest.anchors is None:
        if wanted:
            raise ModelPackError(
                f"model pack {path}: decoder ssd-raw needs anchors; {MANIFEST} has no [anchors]; add file and sha256"
            )
        return None
    if not wanted:
        raise ModelPackError(
            f"model pack {path}: [anchors] given, but decoder {manifest.decoder.kind} uses none; remove it"
        )
    data = _read_held(path, manifest.anchors)
    try:
        anchors: npt.NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as exc:
        raise ModelPackError(f"model pack {path}: {manifest.anchors.file} is not a numpy file: {exc}") from exc
    if anchors.ndim != 2 or anchors.shape[1] != 4 or anchors.dtype.kind != "f":
        raise ModelPackError(
            f"model pack {path}: {manifest.anchors.file} holds {anchors.dtype} {list(anchors.shape)}; wanted floats "
            f"[n, 4]: top, left, bottom, right of each anchor in fractions of the input"
        )
    return anchors.astype(np.float32)


def _tensors(path: Path, file: str, weights: bytes) -> tuple[list[TensorSpec], tuple[TensorSpec, ...]]:
    try:
        network = open_interpreter(weights, threads=1)
        inputs, outputs = network.get_input_details(), network.get_output_details()
    except (ValueError, RuntimeError) as exc:
        raise ModelPackError(
            f"model pack {path}: {file} is not a TFLite network that this runtime reads: {exc}; export it again"
        ) from exc
    return [_spec(d) for d in inputs], tuple(_spec(d) for d in outputs)


def _spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    shape = tuple(int(n) for n in details["shape"])
    return TensorSpec(details["name"], shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))


def _check_input(
    path: Path, manifest: Manifest, file: str, inputs: Sequence[TensorSpec]
) -> npt.NDArray[np.uint8] | None:
    want = manifest.input
    shape = (1, want.height_px, want.width_px, 3)
    found = [f"{spec.dtype} {list(spec.shape)}" for spec in inputs]
    if found != [f"{want.dtype} {list(shape)}"]:
        raise ModelPackError(
            f"model pack {path}: {file} takes {' and '.join(found)}; {MANIFEST} says one input, "
            f"{want.dtype} {list(shape)} (batch, height, width, channels); correct [input] or the weights"
        )
    if want.dtype == "float32":
        return None
    spec = inputs[0]
    if not spec.scale:
        raise ModelPackError(
            f"model pack {path}: {file}: input {spec.name} is {spec.dtype} without a scale; "
            f"export it with quantised inputs"
        )
    real = np.arange(256) * want.scale + want.offset
    limits = np.iinfo(want.dtype)
    raw = np.clip(np.rint(real / spec.scale + spec.zero_point), limits.min, limits.max).astype(want.dtype)
    table: npt.NDArray[np.uint8] = raw.view(np.uint8)
    return table


def _decoder(
    manifest: Manifest,
    outputs: Sequence[TensorSpec],
    columns: ClassColumns,
    anchors: npt.NDArray[np.float32] | None,
) -> Decoder:
    head = manifest.decoder
    if isinstance(head, SsdRawHead):
        assert anchors is not None  # _anchors refused a pack without them
        return SsdRaw(
            outputs,
            columns,
            anchors,
            variances=head.variances,
            activation=head.score_activation,
            background=head.background,
            nms_iou=head.nms_iou,
            outputs=head.outputs,
        )
    if isinstance(head, SsdPostprocessHead):
        return SsdPostprocess(outputs, columns, outputs=head.outputs)
    return Yolo(
        head.kind,
        outputs,
        columns,
        (manifest.input.width_px, manifest.input.height_px),
        activation=head.score_activation,
        box_units=head.box_units if isinstance(head, YoloHead) else "pixels",
        strides=head.strides if isinstance(head, YoloXHead) else (),
        nms_iou=head.nms_iou,
    )
