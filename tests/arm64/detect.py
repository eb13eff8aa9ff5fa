"""What the bundled packs see in the drawn street, as JSON: run on either machine, to be compared."""

from __future__ import annotations

import hashlib
import json
import platform

from drivers.base import CLASSES
from drivers.inference import list_packs, open_detector
from tests.support.street import street

LEAST_SCORE = 0.2


def main() -> None:
    picture = street()
    seen = {}
    for name in list_packs():
        detector = open_detector(name)
        found = detector.detect(picture, LEAST_SCORE)
        classes = [CLASSES[number] for number in found.class_ids]
        seen[name] = [*zip(classes, found.scores.tolist(), found.boxes_xyxy_px.tolist(), strict=True)]
        runtime = detector.runtime
        detector.close()
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    print(json.dumps({"machine": platform.machine(), "runtime": runtime, "picture": digest, "seen": seen}))


if __name__ == "__main__":
    main()
