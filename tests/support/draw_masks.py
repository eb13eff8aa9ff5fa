"""Draws the handbook's picture of the two kinds of mask, with the agent's own masks on a drawn street.

python -m tests.support.draw_masks
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from agent.vision.masks import blackened, unmasked
from drivers.base import Frame
from tests.support.street import street

PRIVACY = ((0.0, 0.0), (0.42, 0.0), (0.42, 0.46), (0.0, 0.52))
DETECTION = ((0.78, 0.42), (1.0, 0.42), (1.0, 0.9), (0.82, 0.9))
OUT = Path(__file__).resolve().parents[2] / "provisioning" / "masks.png"


def main() -> None:
    picture = blackened(Frame(street(), 0, 0.0), (PRIVACY,)).image_bgr
    high, wide = picture.shape[:2]
    y, x = np.mgrid[0:high, 0:wide]
    hatched = ~unmasked((DETECTION,), (wide, high)) & ((x + y) % 12 < 2)
    picture[hatched] = (0, 210, 255)
    for text, place, colour in (("privacy", (20, 40), (255, 255, 255)), ("detection", (500, 140), (0, 210, 255))):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 5, cv2.LINE_AA)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 2, cv2.LINE_AA)
    # Few colours: a drawing needs no more, and the file stays small.
    small = cv2.resize(picture, (480, 270), interpolation=cv2.INTER_AREA) // 24 * 24
    cv2.imwrite(str(OUT), small, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
