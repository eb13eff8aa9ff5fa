"""From a network's output tensors to boxes: SSD and YOLO heads, INT8 or float, in numpy alone.

A decoder knows one kind of head. It is built once for one network and then called per picture with the raw outputs; it
gives candidates in fractions of the model's input, best first, and leaves duplicates to `suppress_duplicates`.
It opens no file and imports no runtime, so every kind is tested on tensors made by hand.

Cheap by construction: scores are compared as they come (INT8 stays INT8, logits stay logits), only for the columns
the agent counts, and only rows that pass are ever turned into floats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

MAX_CANDIDATES = 200
"""Best rows kept before duplicates are removed; bounds the time of a picture full of noise."""

Activation = Literal["none", "sigmoid"]
BoxUnits = Literal["fraction", "pixels"]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int_]


class HeadMismatch(ValueError):
    """The network's outputs are not those of the head the decoder was told; the message says found and wanted."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a network, batch axis included. scale 0.0 means the values are what they say (float)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    def real(self, values: npt.NDArray[Any]) -> FloatArray:
        """Raw values of this tensor as float32, a new array of the same shape."""
        out = values.astype(np.float32)
        if self.scale:
            out -= self.zero_point
            out *= self.scale
        return out

    def raw_threshold(self, real: float) -> float:
        """The smallest raw value that stands for at least `real`; compare raw values with >=."""
        if not self.scale:
            return real
        return math.ceil(real / self.scale + self.zero_point - 1e-6)


@dataclass(frozen=True, slots=True)
class ClassColumns:
    """Which of the network's labels are counted, and as what. Rows of both arrays belong together.

    labels: index into the network's labels (background not counted).
    class_ids: index into `drivers.base.CLASSES`.
    total: how many labels the network has.
    """

    labels: tuple[int, ...]
    class_ids: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Rows that passed the threshold, best first, at most MAX_CANDIDATES.

    boxes_xyxy: float32 (n, 4), left, top, right, bottom, in fractions of the model's input, unclipped.
    scores: float32 (n,), 0..1.  class_ids: int32 (n,), index into `drivers.base.CLASSES`.
    """

    boxes_xyxy: FloatArray
    scores: FloatArray
    class_ids: npt.NDArray[np.int32]


class Decoder(Protocol):
    nms_iou: float | None
    """Overlap above which the weaker of two boxes of a class is a duplicate; None if the network removed them."""

    def __call__(self, outputs: Sequence[npt.NDArray[Any]], min_score: float) -> Candidates:
        """outputs: raw tensors in the order of the specs the decoder was built with, batch axis included."""


class SsdRaw:
    """Box encodings and class scores per anchor, as SSD networks give them before post-processing.

    cy = ty / vy · ha + cya    h = exp(th / vh) · ha      (x and w likewise; variances = vy, vx, vh, vw)
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        columns: ClassColumns,
        anchors_yxyx: FloatArray,
        *,
        variances: tuple[float, float, float, float],
        activation: Activation,
        background: bool,
        nms_iou: float,
        outputs: Sequence[str],
    ) -> None:
        """anchors_yxyx: (n, 4), top, left, bottom, right, fractions of the input. background: score column 0 is it."""
        self.nms_iou: float | None = nms_iou
        self._boxes_at, self._scores_at = _locate(specs, outputs, ("boxes", "scores"))
        self._boxes, self._scores = specs[self._boxes_at], specs[self._scores_at]
        anchors = len(anchors_yxyx)
        _want_shape(self._boxes, (1, anchors, 4), f"4 box encodings for each of {anchors} anchors")
        width = columns.total + background
        _want_shape(self._scores, (1, anchors, width), f"{width} scores for each of {anchors} anchors")
        self._columns = np.array(columns.labels) + int(background)
        self._class_ids = np.array(columns.class_ids, np.int32)
        self._activation = activation
        top, left, bottom, right = anchors_yxyx.astype(np.float32).T
        self._size_hw = np.stack([bottom - top, right - left], 1)
        self._centre_yx = np.stack([(top + bottom) / 2, (left + right) / 2], 1)
        self._centre_gain = np.array([1 / variances[0], 1 / variances[1]], np.float32)
        self._size_gain = np.array([1 / variances[2], 1 / variances[3]], np.float32)

    def __call__(self, outputs: Sequence[npt.NDArray[Any]], min_score: float) -> Candidates:
        scores = outputs[self._scores_at][0]
        rows, column = _best_rows(scores, self._columns, _raw_min(self._scores, self._activation, min_score))
        encoded = self._boxes.real(outputs[self._boxes_at][0].take(rows, 0))
        size_hw = self._size_hw.take(rows, 0)
        centre = encoded[:, :2] * self._centre_gain * size_hw + self._centre_yx.take(rows, 0)
        half = np.exp(encoded[:, 2:] * self._size_gain) * (size_hw * np.float32(0.5))
        boxes = np.empty((len(rows), 4), np.float32)
        np.subtract(centre[:, ::-1], half[:, ::-1], out=boxes[:, :2])
        np.add(centre[:, ::-1], half[:, ::-1], out=boxes[:, 2:])
        raw = scores[rows, self._columns[column]]
        return Candidates(boxes, _activate(self._scores.real(raw), self._activation), self._class_ids[column])


class SsdPostprocess:
    """The four outputs of the TFLite_Detection_PostProcess operator: boxes (y, x, y, x), classes, scores, count.

    The operator always fills its maximum number of rows; those beyond count are rubbish.
    """

    def __init__(self, specs: Sequence[TensorSpec], columns: ClassColumns, *, outputs: Sequence[str]) -> None:
        self.nms_iou: float | None = None
        self._at = _locate(specs, outputs, ("boxes", "classes", "scores", "count"))
        boxes, classes, scores, count = (specs[i] for i in self._at)
        rows = boxes.shape[1] if len(boxes.shape) == 3 else 0
        _want_shape(boxes, (1, rows, 4), "4 coordinates per row")
        _want_shape(classes, (1, rows), "one class per row")
        _want_shape(scores, (1, rows), "one score per row")
        _want_shape(count, (1,), "the number of rows that mean something")
        self._specs = (boxes, classes, scores, count)
        self._class_of = np.full(columns.total, -1, np.int32)
        self._class_of[list(columns.labels)] = columns.class_ids

    def __call__(self, outputs: Sequence[npt.NDArray[Any]], min_score: float) -> Candidates:
        boxes, labels, scores, count = (
            spec.real(outputs[at][0]) for spec, at in zip(self._specs, self._at, strict=True)
        )
        # Cut first: the rows beyond hold whatever the memory held, also what is no number.
        filled = max(0, min(int(count), len(scores)))
        boxes, scores, index = boxes[:filled], scores[:filled], labels[:filled].astype(np.int64)
        known = (index >= 0) & (index < len(self._class_of))
        class_ids = np.where(known, self._class_of[np.where(known, index, 0)], -1).astype(np.int32)
        rows = np.flatnonzero((class_ids >= 0) & (scores >= min_score))
        rows = rows[np.argsort(-scores[rows], kind="stable")][:MAX_CANDIDATES]
        return Candidates(boxes[rows][:, [1, 0, 3, 2]], scores[rows], class_ids[rows])


class Yolo:
    """One tensor of rows (x, y, w, h[, objectness], one score per label), the centre and size of each box.

    yolo-v5: (1, n, 5 + labels), score = objectness · class.
    yolo-v8: (1, 4 + labels, n), no objectness. Also what v9 and v11 export.
    yolo-x:  (1, n, 5 + labels) like v5, but relative to a grid: x = (tx + column) · stride, w = exp(tw) · stride.
    """

    def __init__(
        self,
        kind: Literal["yolo-v5", "yolo-v8", "yolo-x"],
        specs: Sequence[TensorSpec],
        columns: ClassColumns,
        input_wh_px: tuple[int, int],
        *,
        activation: Activation,
        box_units: BoxUnits,
        strides: Sequence[int],
        nms_iou: float,
    ) -> None:
        """box_units: what x, y, w, h of v5 and v8 count; strides: of yolo-x, in the order of its rows."""
        self.nms_iou: float | None = nms_iou
        if len(specs) != 1:
            raise HeadMismatch(f"{len(specs)} outputs; {kind} wants 1")
        self._spec = specs[0]
        self._transposed = kind == "yolo-v8"
        self._objectness = kind != "yolo-v8"
        first = 4 + int(self._objectness)
        width = first + columns.total
        shape = self._spec.shape
        rows = (shape[2] if self._transposed else shape[1]) if len(shape) == 3 else 0
        wanted = (1, width, rows) if self._transposed else (1, rows, width)
        _want_shape(self._spec, wanted, f"{width} values per row: box, scores of {columns.total} labels")
        self._columns = np.array(columns.labels) + first
        self._class_ids = np.array(columns.class_ids, np.int32)
        self._activation = activation
        self._units = np.array(input_wh_px, np.float32) if box_units == "pixels" else np.ones(2, np.float32)
        self._grid_xy: FloatArray | None = None
        if kind == "yolo-x":
            self._grid_xy, self._stride = _yolox_grid(input_wh_px, strides)
            self._units = np.array(input_wh_px, np.float32)
            if len(self._grid_xy) != rows:
                raise HeadMismatch(
                    f"output {self._spec.name}: {rows} rows; strides {list(strides)} of a "
                    f"{input_wh_px[0]}x{input_wh_px[1]} input give {len(self._grid_xy)}"
                )

    def __call__(self, outputs: Sequence[npt.NDArray[Any]], min_score: float) -> Candidates:
        table = outputs[0][0].T if self._transposed else outputs[0][0]
        raw_min = _raw_min(self._spec, self._activation, min_score)
        if self._objectness:
            # A product of two numbers up to 1 cannot reach the threshold unless both factors do.
            likely = np.flatnonzero(table[:, 4] >= raw_min)
            scores = _activate(self._spec.real(table[likely[:, None], self._columns]), self._activation)
            scores *= _activate(self._spec.real(table[likely, 4]), self._activation)[:, None]
            rows, column = _best_rows(scores, np.arange(len(self._columns)), min_score)
            best, rows = scores[rows, column], likely[rows]
        else:
            rows, column = _best_rows(table, self._columns, raw_min)
            best = _activate(self._spec.real(table[rows, self._columns[column]]), self._activation)
        xywh = self._spec.real(table[rows, :4])
        centre, half = xywh[:, :2], xywh[:, 2:]
        if self._grid_xy is not None:
            stride = self._stride[rows]
            centre = (centre + self._grid_xy[rows]) * stride
            half = np.exp(half) * stride
        half = half * np.float32(0.5)
        boxes = np.concatenate([(centre - half) / self._units, (centre + half) / self._units], 1)
        return Candidates(boxes, best, self._class_ids[column])


def suppress_duplicates(found: Candidates, iou: float) -> IntArray:
    """Rows to keep, ascending: the best of each class, then the next that overlaps none kept by more than iou.

    OpenCV's loop, because at a hundred boxes it takes half of what a numpy matrix of overlaps takes (measured 126 us
    against 304 us for 133 boxes on average).
    """
    if len(found.scores) < 2:
        return np.arange(len(found.scores))
    xywh = found.boxes_xyxy.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    # The stub wants lists; arrays are taken as they are, and making lists would cost as much as the loop.
    boxes: Any = xywh
    scores: Any = found.scores
    class_ids: Any = found.class_ids
    return np.sort(np.asarray(cv2.dnn.NMSBoxesBatched(boxes, scores, class_ids, 0.0, iou), np.int_))


def _best_rows(scores: npt.NDArray[Any], columns: IntArray, raw_min: float) -> tuple[IntArray, IntArray]:
    """Rows whose best of the given columns is at least raw_min, best first, and which of the columns that was.

    The best of the counted columns, whatever the others say: a network with all of COCO's labels often scores a car
    seen from above "suitcase" or "boat" first and "car" second. Asking that the counted label wins lost the box at 6 of
    137 crossings of road clips (score 0.1) and 8 (score 0.15), for an eighth fewer boxes.

    A running maximum over column views: numpy reduces a short inner axis four times slower.
    """
    best = scores[:, columns[0]]
    for column in columns[1:]:
        best = np.maximum(best, scores[:, column])
    rows = np.flatnonzero(best >= raw_min)
    rising = best[rows]
    # Complement, since -(-128) does not fit in INT8; stable, so equal scores keep the order of their rows.
    order = np.argsort(-rising if rising.dtype.kind == "f" else ~rising, kind="stable")
    rows = rows[order[:MAX_CANDIDATES]]
    # take() and not [rows, columns]: half the time.
    return rows, scores.take(rows, 0).take(columns, 1).argmax(1)


def _raw_min(spec: TensorSpec, activation: Activation, min_score: float) -> float:
    if activation == "sigmoid":
        if min_score <= 0.0 or min_score >= 1.0:
            return -math.inf if min_score <= 0.0 else math.inf
        min_score = math.log(min_score / (1.0 - min_score))
    return spec.raw_threshold(min_score)


def _activate(values: FloatArray, activation: Activation) -> FloatArray:
    return np.float32(1) / (np.float32(1) + np.exp(-values)) if activation == "sigmoid" else values


def _yolox_grid(input_wh_px: tuple[int, int], strides: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Column and row of each of the head's cells, (n, 2), and its stride in pixels, (n, 1)."""
    grids, steps = [], []
    for stride in strides:
        columns, rows = input_wh_px[0] // stride, input_wh_px[1] // stride
        y, x = np.mgrid[:rows, :columns]
        grids.append(np.stack([x.ravel(), y.ravel()], 1))
        steps.append(np.full((rows * columns, 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(steps).astype(np.float32)


def _locate(specs: Sequence[TensorSpec], order: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """At which place of the network's outputs each wanted one stands, given the order the manifest tells."""
    if len(specs) != len(order):
        raise HeadMismatch(f"{len(specs)} outputs; wanted {len(order)}: {', '.join(order)}")
    return [list(order).index(name) for name in wanted]


def _want_shape(spec: TensorSpec, shape: tuple[int, ...], meaning: str) -> None:
    if spec.shape != shape:
        raise HeadMismatch(f"output {spec.name} has shape {list(spec.shape)}; wanted {list(shape)}: {meaning}")
