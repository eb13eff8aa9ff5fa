"""What a camera usually shows, and how much of it is to be seen now.

Of each look the logarithm of a small grey picture is taken, so that exposure, dusk and a cloud are an offset that its
gradients do not know. A View is the slow mean of such looks: what stands there stays, what drives through averages
away. Block by block the gradients of now are laid over those of the view; blocks in which that has gone well for
minutes are witnesses, the others (traffic, leaves, bare asphalt) have no say.

Where the scene has gone, if it is still in the picture, is found by correlating the two gradient fields at every shift
at once, and over turns and zooms: the robust FFT registration with image gradients of Tzimiropoulos et al. 2010
(doi 10.1109/TPAMI.2010.107). A lorry that fills the picture hides the scene and correlates nowhere; a turned camera
shows the scene somewhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Field = npt.NDArray[np.complex64]  # a gradient: to the right, and down as the imaginary part

_WIDTH_PX = 160
_BLOCK_PX = 10
_FINE_WIDTH_PX = 640  # blur that harms a detector shows at this width and not at 160
_DARKEST = 10.0  # grey levels added before the logarithm: below is noise
_FORGET_S = 300.0  # shadows and dusk are followed, a queue of lorries is not
_TINY = 1e-9

_WRITTEN = 0.1  # of the height, at the top and at the bottom
_WITNESS = 0.5  # usual likeness of a block that may speak
_LEAST_WITNESSES = 12
_LOST_LIKENESS = 0.25
_LOST_STRENGTH = 0.12
_LEAST_STATIC = 0.1
_MET = 0.5  # of a witness's usual likeness
_BLANK = 0.3  # of the block's usual energy
_BLOWN = 245.0
_BLURRED_FINE = -1.2  # natural logarithms of energy
_BLURRED_RATIO = -0.6
_ABOVE_NOISE = 1.0
_LEAST_SHARP = 5

_FURTHEST_TURN_DEG, _TURN_STEP_DEG = 18, 3
_ZOOMS = tuple(1.06**n for n in range(-6, 7))
_FURTHEST_SHIFT = 0.25  # of the width, right or down; what moved by more shows another scene
_LEAST_SHIFT = 0.02  # of the width: wind shakes a pole by less


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is measured of one picture. Blocks: arrays (rows, 16) over the whole of it.

    log: float32 (h, w), h for a width of 160. mean, brightest: grey levels; brightest: the 99.8th percentile.
    detail: grey levels, the 95th percentile of the steps between neighbours. blown: share of pixels at the upper end.
    brightest and detail leave out the top and the bottom, where cameras write the time.
    """

    fine: Bytes
    log: Floats
    gradient: Field
    even: Field  # the gradient, evened
    fine_energy: Floats  # blocks, natural logarithm
    coarse_energy: Floats
    grey: Floats  # blocks
    mean: float
    brightest: float
    detail: float
    blown: float


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """How a view is met, in shares of its witnesses.

    lost: not there. blank: of these, nothing else there either; changed: something else there.
    blurred: of those with most to show, those in which only what is coarse is left.
    """

    lost: float
    blank: float
    blurred: float

    @property
    def changed(self) -> float:
        return self.lost - self.blank


class Eye:
    """Measures pictures of one size. seen: bool (h, w) at any size, False where a privacy mask is; None: all of it."""

    def __init__(self, frame_wh_px: tuple[int, int], seen: Bools | None = None) -> None:
        wide, high = frame_wh_px
        self.fine_wh_px = (min(_FINE_WIDTH_PX, wide), max(round(min(_FINE_WIDTH_PX, wide) * high / wide), 1))
        self.wh_px = (_WIDTH_PX, max(round(_WIDTH_PX * high / wide), 2 * _BLOCK_PX))
        self.grid_wh = (_WIDTH_PX // _BLOCK_PX, max(round(self.wh_px[1] / _BLOCK_PX), 2))
        whole = np.ones((high, wide), np.uint8) if seen is None else seen.astype(np.uint8)
        small = cv2.resize(whole * np.uint8(255), self.wh_px, interpolation=cv2.INTER_AREA) == 255
        # A mask's edge is the sharpest edge of all and never moves: neither it nor its neighbours are looked at.
        self.seen = cast(Bools, cv2.erode(small.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_))
        written = max(round(_WRITTEN * self.wh_px[1]), 1)
        self._middle = self.seen.copy()
        self._middle[:written] = self._middle[-written:] = False
        self.seen_blocks: Bools = self.blocks(self.seen.astype(np.float32)) > 0.9

    def look(self, image_bgr: Bytes) -> Look:
        # Shrunk before it is made grey: the other way round a 4K picture costs three times as much.
        small = cv2.resize(image_bgr, self.fine_wh_px, interpolation=cv2.INTER_AREA)
        fine = cast(Bytes, cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
        coarse = cast(Bytes, cv2.resize(fine, self.wh_px, interpolation=cv2.INTER_AREA))
        fine_log = cast(Floats, cv2.LUT(fine, _LOG))
        band = fine_log - cv2.blur(fine_log, (3, 3))
        log = cast(Floats, cv2.LUT(coarse, _LOG))
        gradient = self.gradient(log)
        shown = coarse[self.seen] if self.seen.any() else coarse.ravel()
        middle = coarse[self._middle] if self._middle.any() else shown
        steps = np.abs(gradient[self._middle]) * (coarse[self._middle] + _DARKEST)  # logarithms back to grey levels
        return Look(
            fine=fine,
            log=log,
            gradient=gradient,
            even=even(gradient),
            fine_energy=np.log(self.blocks(band * band) + 1e-6),
            coarse_energy=np.log(self.blocks(_power(gradient)) + 1e-6),
            grey=self.blocks(coarse.astype(np.float32)),
            mean=float(shown.mean()),
            brightest=float(np.percentile(middle, 99.8)),
            detail=float(np.percentile(steps, 95)) if len(steps) else 0.0,
            blown=float((shown >= 250).mean()),
        )

    def blocks(self, values: Floats) -> Floats:
        """Means over the blocks."""
        return cast(Floats, cv2.resize(values, self.grid_wh, interpolation=cv2.INTER_AREA))

    def gradient(self, log: Floats) -> Field:
        return _gradient(log) * self.seen

    def changed_blocks(self, fine: Bytes, before: Bytes) -> float:
        """The share of blocks in which any pixel at all differs between two pictures."""
        differs = cast(Floats, cv2.compare(fine, before, cv2.CMP_NE)).astype(np.float32)
        return float((self.blocks(differs) > 0)[self.seen_blocks].mean()) if self.seen_blocks.any() else 1.0


class View:
    """One usual picture of a camera: a mean, and per block what is usual."""

    def __init__(self, look: Look, *, by_night: bool) -> None:
        self.by_night = by_night
        self.learned_s = 0.0
        self.presence = 1.0  # usual
        self.log = look.log.copy()
        self.likeness = np.ones_like(look.grey)
        self.fine_energy = look.fine_energy.copy()
        self.coarse_energy = look.coarse_energy.copy()
        self._fields: tuple[Field, Field] | None = None

    def learn(self, eye: Eye, look: Look, now_log: Floats, step_s: float) -> None:
        """A running mean at first, later one that forgets."""
        self.learned_s += step_s
        share = step_s / min(max(self.learned_s, step_s), _FORGET_S)
        now = eye.gradient(now_log)
        self.presence += (self.presence_of(eye, even(now)) - self.presence) * share
        self.likeness += (self._likeness(eye, now) - self.likeness) * share
        self.log += (look.log - self.log) * np.float32(share)
        self._fields = None
        self.fine_energy += (look.fine_energy - self.fine_energy) * np.float32(share)
        self.coarse_energy += (look.coarse_energy - self.coarse_energy) * np.float32(share)

    def gradient(self, eye: Eye) -> Field:
        return self._gradient_and_even(eye)[0]

    def even(self, eye: Eye) -> Field:
        return self._gradient_and_even(eye)[1]

    def _gradient_and_even(self, eye: Eye) -> tuple[Field, Field]:
        """Asked for several times between two changes."""
        if self._fields is None:
            gradient = eye.gradient(self.log)
            self._fields = gradient, even(gradient)
        return self._fields

    def presence_of(self, eye: Eye, now_even: Field) -> float:
        """How well the gradients of now lie on those of the view, where they are: 1 the same, 0 nothing of it."""
        return _correlation(now_even, self.even(eye))

    def match(self, eye: Eye, look: Look, now: Field, static_energy: Floats) -> Match | None:
        """None: there is too little to hold on to, or too little of it that is not blown out."""
        witnesses = self._witnesses(eye)
        speaking = witnesses & (look.grey < _BLOWN)
        if speaking.sum() < max(_LEAST_WITNESSES, 0.3 * witnesses.sum()):
            return None
        usual = self.gradient(eye)
        energy = eye.blocks(_power(usual))
        shared = eye.blocks(along(now, usual))
        # Measured against what stands still there now, not against all there is: rain hides nothing.
        likeness = shared / np.sqrt(np.maximum(static_energy, _LEAST_STATIC * energy) * energy + _TINY**2)
        lost = (likeness < _LOST_LIKENESS) | (shared < _LOST_STRENGTH * energy)
        blank = lost & (static_energy < _BLANK * energy)
        fine = look.fine_energy - self.fine_energy
        only_coarse = (fine < _BLURRED_FINE) & (fine - look.coarse_energy + self.coarse_energy < _BLURRED_RATIO)
        blurred = only_coarse[speaking & self._sharp(eye, energy)]
        return Match(
            lost=float(lost[speaking].mean()),
            blank=float(blank[speaking].mean()),
            blurred=float(blurred.mean()) if len(blurred) >= _LEAST_SHARP else 0.0,
        )

    def met(self, eye: Eye, look: Look) -> float:
        """The share of the witnesses that find in this one look what they usually do."""
        witnesses = self._witnesses(eye)
        if not witnesses.any():
            return 0.0
        return float((self._likeness(eye, look.gradient) >= _MET * self.likeness)[witnesses].mean())

    def _witnesses(self, eye: Eye) -> Bools:
        return (self.likeness >= _WITNESS) & eye.seen_blocks

    def _sharp(self, eye: Eye, energy: Floats) -> Bools:
        """Blocks with the strongest lasting edges, and more fine detail than noise alone makes.

        Noise is fine detail too. At dawn it goes, and where there was nothing else it would look like blur.
        """
        noise = np.percentile(self.fine_energy[eye.seen_blocks], 10)
        strong = energy >= np.percentile(energy[eye.seen_blocks], 75)
        return strong & (self.fine_energy >= noise + _ABOVE_NOISE)

    def _likeness(self, eye: Eye, now: Field) -> Floats:
        """Per block, the cosine between the gradients of now and the usual ones."""
        usual = self.gradient(eye)
        lengths = np.sqrt(eye.blocks(_power(now)) * eye.blocks(_power(usual)))
        return cast(Floats, eye.blocks(along(now, usual)) / (lengths + _TINY))

    # ---- kept on disk ------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Half precision is plenty, and halves what is written."""
        numbers = np.array([self.by_night, self.learned_s, self.presence], np.float32)
        kept = (self.log, self.likeness, self.fine_energy, self.coarse_energy)
        return {"numbers": numbers, **{n: a.astype(np.float16) for n, a in zip(_KEPT, kept, strict=True)}}

    @staticmethod
    def of(arrays: dict[str, npt.NDArray[Any]]) -> View:
        """Raises KeyError or ValueError for what `arrays` did not make."""
        by_night, learned_s, presence = (float(n) for n in arrays["numbers"])
        kept = [np.asarray(arrays[name], np.float32) for name in _KEPT]
        if not all(a.ndim == 2 and np.isfinite(a).all() for a in kept) or len({a.shape for a in kept[1:]}) != 1:
            raise ValueError("arrays of the wrong shape")
        view = View.__new__(View)
        view._fields = None
        view.by_night, view.learned_s, view.presence = bool(by_night), learned_s, presence
        view.log, view.likeness, view.fine_energy, view.coarse_energy = kept
        return view

    def fits(self, eye: Eye) -> bool:
        return self.log.shape == eye.wh_px[::-1] and self.likeness.shape == eye.grid_wh[::-1]


_KEPT = ("log", "likeness", "fine_energy", "coarse_energy")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the usual scene is found in the picture of now. shift_xy: fractions of the WIDTH, both."""

    presence: float
    shift_xy: tuple[float, float]
    turn_deg: float = 0.0
    zoom: float = 1.0

    @property
    def is_elsewhere(self) -> bool:
        return max(map(abs, self.shift_xy)) >= _LEAST_SHIFT or self.turn_deg != 0 or self.zoom != 1.0


def shifted(a: Field, b: Field) -> Place:
    """Where b is in a by the best of all shifts, without a turn or a zoom; both evened."""
    products = np.fft.ifft2(np.fft.fft2(a) * np.conj(np.fft.fft2(b))).real
    high, wide = products.shape
    # Further away too little of the scene is left to be found, and chance finds it more often than sense does.
    reach = round(_FURTHEST_SHIFT * wide)
    products[reach + 1 : -reach] = products[:, reach + 1 : -reach] = 0.0
    row, column = divmod(int(products.argmax()), wide)
    y, x = ((v + n // 2) % n - n // 2 for v, n in ((row, high), (column, wide)))
    return Place(float(products[row, column]) / _lengths(a, b), (x / wide, y / wide))


def turned(now_log: Floats, view: View, seen: Bools) -> Place:
    """The best of all shifts over turns and zooms, at half the size: some 170 small transforms, for suspicions only."""
    now, usual = (
        cast(Floats, cv2.resize(log, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)) for log in (now_log, view.log)
    )
    half_seen = cv2.resize(seen.astype(np.uint8), now.shape[::-1], interpolation=cv2.INTER_NEAREST)
    high, wide = now.shape
    field = even(_gradient(now) * half_seen)
    best = Place(0.0, (0.0, 0.0))
    for turn_deg in range(-_FURTHEST_TURN_DEG, _FURTHEST_TURN_DEG + 1, _TURN_STEP_DEG):
        for zoom in _ZOOMS:
            matrix = cv2.getRotationMatrix2D(((wide - 1) / 2, (high - 1) / 2), turn_deg, zoom)
            there = cast(Floats, cv2.warpAffine(usual, matrix, (wide, high), borderMode=cv2.BORDER_REPLICATE))
            place = shifted(field, even(_gradient(there)))
            if place.presence > best.presence:
                best = Place(place.presence, place.shift_xy, turn_deg, zoom)
    return best


_LOG = np.log(np.arange(256, dtype=np.float32) + np.float32(_DARKEST))


def even(field: Field) -> Field:
    """Strong edges held down, so that a bright lorry's outline does not outweigh a hundred faint kerbs."""
    lengths = np.abs(field)
    return cast(Field, field / (np.maximum(lengths, lengths.mean()) + np.float32(_TINY)))


def _gradient(log: Floats) -> Field:
    to_right = cv2.Scharr(log, cv2.CV_32F, 1, 0, scale=1 / 32)
    down = cv2.Scharr(log, cv2.CV_32F, 0, 1, scale=1 / 32)
    return cast(Field, to_right + 1j * down)


def _power(field: Field) -> Floats:
    return cast(Floats, field.real**2 + field.imag**2)


def along(a: Field, b: Field) -> Floats:
    """The inner product at every pixel."""
    return cast(Floats, a.real * b.real + a.imag * b.imag)


def _lengths(a: Field, b: Field) -> float:
    return float(np.sqrt(float(_power(a).sum()) * float(_power(b).sum()))) + _TINY


def _correlation(a: Field, b: Field) -> float:
    return float(along(a, b).sum()) / _lengths(a, b)
