"""A Detector that runs a model pack on a TFLite runtime.

One picture in, boxes in that picture out. It knows nothing of cameras, tracks or time. Around `invoke` it does as
little as can be done: one resize straight to the input's size, one channel swap written into the network's own memory,
and a decoder that looks only at what passes the threshold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from drivers.base import Detections, DriverError, ModelPackError
from drivers.inference.accelerator import CPU, Accelerator, why_not
from drivers.inference.decode import suppress_duplicates
from drivers.inference.pack import ModelPack, find_pack, load_pack
from drivers.inference.runtime import open_interpreter, runtime_name

log = logging.getLogger(__name__)

_LETTERBOX_GREY = 114  # what YOLO's own training pads with
_AS_IT_IS = np.arange(256, dtype=np.uint8)
_SIGN_FLIPPED = np.bitwise_xor(_AS_IT_IS, np.uint8(0x80))


def open_detector(
    name_or_path: str | Path,
    threads: int = 1,
    *,
    delegate: str = CPU,
    delegate_options: Mapping[str, str] | None = None,
) -> TfliteDetector:
    """A detector for a bundled pack's name or a pack's path. Raises ModelPackError; DriverError without a runtime.

    delegate: "cpu", "edgetpu" or a delegate's library. One that does not work here is logged, and the processor used.
    """
    path = find_pack(name_or_path)
    if delegate == CPU:
        return TfliteDetector(load_pack(path), threads=threads)
    accelerator = Accelerator(delegate, delegate_options or {})
    pack = load_pack(path, variant=accelerator.name)
    reason = why_not(pack, accelerator, threads)
    if reason is None:
        return TfliteDetector(pack, threads=threads, accelerator=accelerator)
    detector = TfliteDetector(load_pack(path), threads=threads)
    detector.tell_of_fallback(accelerator, reason)
    return detector


class TfliteDetector:
    """A network, its input buffer and its decoder. Safe to share between threads: calls run one after another.

    pack: what it runs.
    runtime: what runs it, such as "ai-edge-litert 2.3.0", "… on edgetpu" or "… on cpu, not edgetpu: …".
    busy_s: for how long it has looked at pictures since it was made, waiting for its turn not counted.
    """

    def __init__(self, pack: ModelPack, *, threads: int = 1, accelerator: Accelerator | None = None) -> None:
        self._threads = threads
        self.busy_s = 0.0
        self._lock = threading.Lock()
        self._use(pack, accelerator)

    def tell_of_fallback(self, accelerator: Accelerator, reason: str) -> None:
        log.warning("detector: %s cannot be used, the processor does its work: %s", accelerator.name, reason)
        self.runtime = f"{runtime_name()} on cpu, not {accelerator.name}: {reason}"

    def _use(self, pack: ModelPack, accelerator: Accelerator | None) -> None:
        self.pack = pack
        self.runtime = runtime_name() + (f" on {accelerator.name}" if accelerator else "")
        self._accelerator = accelerator
        library, options = (accelerator.library, accelerator.options) if accelerator else (None, None)
        self._network: Any = open_interpreter(pack.weights, self._threads, library, options)
        try:
            self._network.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise ModelPackError(
                f"model pack {pack.path}: {self.runtime} cannot run {pack.manifest.weights.file}: {exc}; "
                f"it may use operators this runtime lacks: export it with TFLite built-in operators only"
            ) from exc
        self._input = self._network.get_input_details()[0]["index"]
        self._outputs = [d["index"] for d in self._network.get_output_details()]
        spec = pack.manifest.input
        self._size_wh = (spec.width_px, spec.height_px)
        self._letterbox = spec.resize == "letterbox"
        self._swap = spec.channels == "rgb"
        self._scale, self._offset = np.float32(spec.scale), np.float32(spec.offset)
        # Both conversions are common and ten times cheaper than a table: as it is, and minus 128.
        self._table, self._flip_sign = pack.input_raw, False
        if self._table is not None and _near(self._table, _AS_IT_IS):
            self._table = None
        elif self._table is not None and _near(self._table, _SIGN_FLIPPED, signed=True):
            self._table, self._flip_sign = None, True
        self._sized = np.full((spec.height_px, spec.width_px, 3), _LETTERBOX_GREY, np.uint8)

    def detect(self, image_bgr: npt.NDArray[np.uint8], min_score: float) -> Detections:
        """Objects scored at least min_score, best first, at most 200, each class's duplicates removed.

        image_bgr: uint8 (height, width, 3) of any size; read only. Raises DriverError after close().
        """
        height, width = image_bgr.shape[:2]
        with self._lock:
            if self._network is None:
                raise DriverError(f"model pack {self.pack.path}: detector is closed; open it again")
            began_s = time.monotonic()
            used_wh = self._fill(image_bgr)
            try:
                self._network.invoke()
            except RuntimeError as exc:
                if self._accelerator is None:
                    raise
                used_wh = self._go_on_without(self._accelerator, exc, image_bgr)
            # Views into the network's memory: they must be gone before the next invoke.
            views = [self._network.tensor(index)() for index in self._outputs]
            found = self.pack.decoder(views, min_score)
            del views
            self.busy_s += time.monotonic() - began_s
        boxes, scores, class_ids = found.boxes_xyxy, found.scores, found.class_ids
        if self.pack.decoder.nms_iou is not None:
            keep = suppress_duplicates(found, self.pack.decoder.nms_iou)
            boxes, scores, class_ids = boxes[keep], scores[keep], class_ids[keep]
        # The picture may fill only part of the input (letterbox, padded right and below).
        wide, high = width * self._size_wh[0] / used_wh[0], height * self._size_wh[1] / used_wh[1]
        boxes = boxes * np.array((wide, high, wide, high), np.float32)
        np.clip(boxes, 0, np.array((width, height, width, height), np.float32), out=boxes)
        return Detections(boxes, scores, class_ids)

    def close(self) -> None:
        with self._lock:
            self._network = None

    def _go_on_without(
        self, accelerator: Accelerator, exc: RuntimeError, image_bgr: npt.NDArray[np.uint8]
    ) -> tuple[int, int]:
        """The accelerator has failed at work, as one does that was unplugged: the processor looks at this picture."""
        self._use(load_pack(self.pack.path), None)
        self.tell_of_fallback(accelerator, f"it failed at work: {exc}"[:120])
        used_wh = self._fill(image_bgr)
        self._network.invoke()
        return used_wh

    def _fill(self, image_bgr: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """Put the picture into the input tensor; how much of the input it covers, (width, height) px."""
        used_wh = self._resize(image_bgr)
        tensor = self._network.tensor(self._input)()[0]
        if tensor.dtype == np.float32:
            rgb = cv2.cvtColor(self._sized, cv2.COLOR_BGR2RGB) if self._swap else self._sized
            np.multiply(rgb, self._scale, out=tensor)
            tensor += self._offset
            return used_wh
        pixels = tensor.view(np.uint8)
        if self._swap:
            cv2.cvtColor(self._sized, cv2.COLOR_BGR2RGB, dst=pixels)
        else:
            np.copyto(pixels, self._sized)
        if self._flip_sign:
            np.bitwise_xor(pixels, 0x80, out=pixels)
        elif self._table is not None:
            cv2.LUT(pixels, self._table, dst=pixels)
        return used_wh

    def _resize(self, image_bgr: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """The picture at the input's size in self._sized. Nothing else about it is changed."""
        if not self._letterbox:
            cv2.resize(image_bgr, self._size_wh, dst=self._sized)
            return self._size_wh
        height, width = image_bgr.shape[:2]
        ratio = min(self._size_wh[0] / width, self._size_wh[1] / height)
        used = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        self._sized[used[1] :] = _LETTERBOX_GREY
        self._sized[:, used[0] :] = _LETTERBOX_GREY
        self._sized[: used[1], : used[0]] = cv2.resize(image_bgr, used)
        return used


def _near(table: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], signed: bool = False) -> bool:
    """Whether two tables differ by at most one step, which is rounding: scale 2/255 with an offset is not exact."""
    kind = np.int8 if signed else np.uint8
    return bool(np.abs(table.view(kind).astype(int) - other.view(kind).astype(int)).max() <= 1)
