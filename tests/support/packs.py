"""Model packs for tests: a tiny network of tests/unit/drivers/inference/data in a folder with a manifest."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

DATA = Path(__file__).parents[1] / "unit" / "drivers" / "inference" / "data"

HEADS = {
    "ssd-raw": (
        'kind = "ssd-raw"\nvariances = [10, 10, 5, 5]\nscore_activation = "none"\nbackground = true\nnms_iou = 0.6'
    ),
    "ssd-raw-logits": (
        'kind = "ssd-raw"\nvariances = [10, 10, 5, 5]\nscore_activation = "sigmoid"\nbackground = false\nnms_iou = 0.6'
    ),
    "ssd-postprocess": 'kind = "ssd-postprocess"',
    "yolo-v5": 'kind = "yolo-v5"\nbox_units = "fraction"\nscore_activation = "none"\nnms_iou = 0.6',
    "yolo-v8": 'kind = "yolo-v8"\nbox_units = "pixels"\nscore_activation = "none"\nnms_iou = 0.6',
    "yolo-v8-fraction": 'kind = "yolo-v8"\nbox_units = "fraction"\nscore_activation = "none"\nnms_iou = 0.6',
    "yolo-x": 'kind = "yolo-x"\nstrides = [8]\nscore_activation = "none"\nnms_iou = 0.6',
}


def tiny_pack(
    folder: Path,
    network: str,
    head: str,
    *,
    resize: str = "stretch",
    channels: str = "rgb",
    labels: str = "red\ngreen\nblue\n",
    label_map: str = 'red = "person"\nblue = "car"',
) -> Path:
    """A pack in `folder` around data/NETWORK.tflite, read by HEADS[head]. Returns the folder."""
    folder.mkdir(parents=True)
    shutil.copy(DATA / f"{network}.tflite", folder / "weights.tflite")
    (folder / "labels.txt").write_text(labels)
    anchors = ""
    if head.startswith("ssd-raw"):
        shutil.copy(DATA / "anchors.npy", folder / "anchors.npy")
        anchors = f'[anchors]\nfile = "anchors.npy"\nsha256 = "{_sha256(folder / "anchors.npy")}"'
    dtype = network.rsplit("-", 1)[1]
    (folder / "manifest.toml").write_text(f"""\
name = "tiny"
version = "1.2.3"
summary = "colours of four quadrants"
licence = "Apache-2.0"
quantisation = "{dtype if dtype == "float32" else "int8"}"

[weights]
file = "weights.tflite"
sha256 = "{_sha256(folder / "weights.tflite")}"

{anchors}

[labels]
file = "labels.txt"
sha256 = "{_sha256(folder / "labels.txt")}"
[labels.map]
{label_map}

[input]
width_px = 16
height_px = 16
channels = "{channels}"
dtype = "{dtype}"
scale = {2 / 255}
offset = -1.0
resize = "{resize}"

[decoder]
{HEADS[head]}

[provenance]
package = "none"
version = "0"
sha256 = "{"0" * 64}"
recipe = "tests/unit/drivers/inference/data/make.py"
""")
    return folder


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
