import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.clock import FakeClock
from drivers.base import CameraEnded, CameraStalled, CameraUnavailable, Frame
from drivers.cameras import FileCamera
from tests.support.recordings import number_of, picture, write_video


def read_all(camera: FileCamera) -> list[Frame]:
    frames = []
    try:
        while True:
            frames.append(camera.read(1.0))
    except CameraEnded:
        return frames


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=60, fps=30.0)


def test_every_frame_comes_once_in_order_with_the_files_own_times(clip: Path) -> None:
    camera = FileCamera("north", clip, realtime=False)
    granted = camera.open()
    frames = read_all(camera)
    camera.close()
    assert (granted.width_px, granted.height_px, granted.fps) == (160, 120, 30.0)
    assert [number_of(frame.image_bgr) for frame in frames] == list(range(60))
    assert [frame.index for frame in frames] == list(range(60))
    assert [frame.mono_s for frame in frames] == pytest.approx([n / 30 for n in range(60)])
    assert camera.damage is None


def test_the_same_file_plays_the_same_twice(clip: Path) -> None:
    camera = FileCamera("north", clip, realtime=False, fps=12)
    rounds = []
    for _ in range(2):
        camera.open()
        rounds.append([(frame.index, frame.mono_s, frame.image_bgr.tobytes()) for frame in read_all(camera)])
    camera.close()
    assert rounds[0] == rounds[1]


def test_thinning_keeps_the_average_and_the_index_counts_what_was_passed_over(clip: Path) -> None:
    camera = FileCamera("north", clip, realtime=False, fps=10)
    camera.open()
    frames = read_all(camera)
    camera.close()
    assert [frame.index for frame in frames] == list(range(0, 60, 3))
    assert [number_of(frame.image_bgr) for frame in frames] == list(range(0, 60, 3))


def test_frames_that_are_not_wanted_are_not_converted(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"grab": 0, "retrieve": 0}

    class Counting:
        def __init__(self, *args: object) -> None:
            self._capture = real(*args)

        def __getattr__(self, name: str) -> object:
            if name in counts:
                counts[name] += 1
            return getattr(self._capture, name)

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Counting)
    camera = FileCamera("north", clip, realtime=False, fps=10)
    camera.open()
    read_all(camera)
    camera.close()
    assert counts == {"grab": 61, "retrieve": 20}


class BrokenTimes:
    """A capture whose container gives the times listed, in ms; frames are 40 ms apart by its own account."""

    def __init__(self, times_ms: list[float], unreadable: tuple[int, ...] = (), failing_grabs: tuple[int, ...] = ()):
        self.times_ms = times_ms
        self.unreadable = unreadable
        self.failing_grabs = set(failing_grabs)
        self.at = -1

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        if self.at + 1 in self.failing_grabs:
            self.failing_grabs.remove(self.at + 1)
            return False
        self.at += 1
        return self.at < len(self.times_ms)

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return (False, None) if self.at in self.unreadable else (True, picture(self.at))

    def get(self, prop: int) -> float:
        return {
            cv2.CAP_PROP_POS_MSEC: self.times_ms[min(max(self.at, 0), len(self.times_ms) - 1)],
            cv2.CAP_PROP_FPS: 25.0,
            cv2.CAP_PROP_FRAME_COUNT: float(len(self.times_ms)),
            cv2.CAP_PROP_FRAME_WIDTH: 160.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 120.0,
            cv2.CAP_PROP_FOURCC: float(0x34363268),
        }[prop]

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("times_ms", "wanted_ms"),
    [
        pytest.param([0, 40, 80, 120], [0, 40, 80, 120], id="sound"),
        pytest.param([50, 90, 130], [0, 40, 80], id="begins late"),
        pytest.param([0, 0, 33, 66], [0, 40, 73, 106], id="first two alike"),
        pytest.param([0, 40, 0, 120, 160], [0, 40, 80, 120, 160], id="one without a time"),
        pytest.param([0, 40, 80, 0], [0, 40, 80, 120], id="last without a time"),
        pytest.param([0, 0, 0, 0], [0, 40, 80, 120], id="no times at all"),
        pytest.param([0, 100, 110, 500], [0, 100, 110, 500], id="uneven but sound"),
    ],
)
def test_times_increase_whatever_the_container_says(
    times_ms: list[float], wanted_ms: list[float], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: BrokenTimes(times_ms))
    camera = FileCamera("north", clip, realtime=False)
    camera.open()
    assert [frame.mono_s * 1000 for frame in read_all(camera)] == pytest.approx(wanted_ms)


def test_a_broken_frame_in_the_middle_is_skipped_and_counted(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times_ms = [40.0 * n for n in range(10)]
    broken = BrokenTimes(times_ms, unreadable=(3,), failing_grabs=(6,))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: broken)
    camera = FileCamera("north", clip, realtime=False)
    camera.open()
    assert [frame.index for frame in read_all(camera)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert camera.undecodable == 2


def test_a_truncated_clip_plays_what_there_is_and_says_how_much_is_missing(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", frames=200, fps=30.0, fourcc="MJPG")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    camera = FileCamera("north", cut, realtime=False)
    camera.open()
    frames = read_all(camera)
    assert 50 < len(frames) < 150
    assert camera.damage is not None
    assert f"frame {len(frames)} of the 200" in camera.damage
    with pytest.raises(CameraEnded, match="damaged or cut off"):
        camera.read(1.0)


def test_a_text_file_called_mp4_is_refused_in_our_words_only(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a film\n" * 100)
    # In a process of its own: FFmpeg takes its log level from the first file that a process opens.
    program = "import sys; from pathlib import Path; from drivers.cameras import FileCamera; "
    program += "FileCamera('north', Path(sys.argv[1])).open()"
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    *traceback, last = run.stderr.strip().splitlines()
    assert f"{path} (1100 bytes) is not a video" in last
    assert "moov" not in run.stderr + run.stdout
    assert all(line.startswith(("Traceback", " ")) for line in traceback)


def test_a_missing_file_is_named_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CameraUnavailable, match=f"{tmp_path}/no-such.mp4: No such file"):
        FileCamera("north", Path("no-such.mp4")).open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_we_may_not_read_says_so(clip: Path) -> None:
    clip.chmod(0)
    with pytest.raises(CameraUnavailable, match="Permission denied"):
        FileCamera("north", clip).open()


def test_reading_before_open_is_an_error_and_close_may_be_repeated(clip: Path) -> None:
    camera = FileCamera("north", clip)
    with pytest.raises(CameraUnavailable, match="not open"):
        camera.read(1.0)
    camera.close()
    camera.open()
    camera.close()
    camera.close()


def realtime_camera(path: Path, clock: FakeClock, *, fps: float | None = None, loop: bool = False) -> FileCamera:
    return FileCamera("north", path, fps=fps, loop=loop, mono_s=clock.mono_s, sleep=clock.sleep)


def test_realtime_keeps_the_files_pace_on_the_monotonic_clock(clip: Path) -> None:
    clock = FakeClock(mono_s=1000.0)
    camera = realtime_camera(clip, clock)
    camera.open()
    frames = [camera.read(1.0) for _ in range(30)]
    camera.close()
    assert [frame.mono_s for frame in frames] == pytest.approx([1000 + n / 30 for n in range(30)])
    assert clock.mono_s() == pytest.approx(1000 + 29 / 30)


def test_realtime_skips_the_frames_a_slow_reader_was_late_for(clip: Path) -> None:
    clock = FakeClock()
    camera = realtime_camera(clip, clock)
    camera.open()
    numbers = []
    for _ in range(5):
        numbers.append(number_of(camera.read(1.0).image_bgr))
        clock.sleep(0.2)  # the reader's work
    camera.close()
    # 0.2 s is six frames; each read gives the frame whose time has come or is the next to come.
    assert {b - a for a, b in pairwise(numbers)} <= {5, 6, 7}
    assert numbers[-1] >= 22


def test_realtime_on_a_machine_too_slow_for_the_file_still_delivers(clip: Path) -> None:
    clock = FakeClock()

    def slow_clock() -> float:
        clock.sleep(0.1)  # every look at the clock costs three frames' time
        return clock.mono_s()

    camera = FileCamera("north", clip, mono_s=slow_clock, sleep=clock.sleep)
    camera.open()
    frames = read_all(camera)
    camera.close()
    assert len(frames) >= 3


def test_realtime_reports_a_wait_longer_than_the_timeout_as_a_stall_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    clock = FakeClock()
    camera = realtime_camera(folder, clock, fps=0.5)
    camera.open()
    camera.read(0.5)
    with pytest.raises(CameraStalled, match="due in"):
        camera.read(0.5)
    assert number_of(camera.read(2.0).image_bgr) == 1
    camera.close()


def test_loop_goes_on_counting_and_its_time_never_goes_back(clip: Path) -> None:
    camera = FileCamera("north", clip, realtime=False, loop=True)
    camera.open()
    frames = [camera.read(1.0) for _ in range(150)]
    camera.close()
    assert [frame.index for frame in frames] == list(range(150))
    assert [number_of(frame.image_bgr) for frame in frames] == [n % 60 for n in range(150)]
    assert [frame.mono_s for frame in frames] == pytest.approx([n / 30 for n in range(150)], abs=1e-3)


def test_a_folder_plays_its_pictures_by_name_one_a_second(tmp_path: Path) -> None:
    for number, name in enumerate(["a.jpg", "b.PNG", "c.bmp"]):
        cv2.imwrite(str(tmp_path / name), picture(number))
    (tmp_path / "notes.txt").write_text("not a picture")
    camera = FileCamera("north", tmp_path, realtime=False)
    granted = camera.open()
    frames = read_all(camera)
    assert (granted.width_px, granted.height_px, granted.fps) == (160, 120, 1.0)
    assert [number_of(frame.image_bgr) for frame in frames] == [0, 1, 2]
    assert [frame.mono_s for frame in frames] == [0.0, 1.0, 2.0]


def test_a_folders_broken_picture_is_skipped_and_another_size_is_scaled(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    (tmp_path / "b.png").write_text("not a picture")
    (tmp_path / "c.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "d.png"), picture(4, 320, 240))
    camera = FileCamera("north", tmp_path, realtime=False)
    camera.open()
    frames = read_all(camera)
    assert [(frame.index, number_of(frame.image_bgr)) for frame in frames] == [(0, 1), (3, 4)]
    assert {frame.size_wh_px for frame in frames} == {(160, 120)}
    assert camera.undecodable == 2


@pytest.mark.parametrize("content", [None, b"not a picture"])
def test_a_folder_without_a_readable_picture_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(CameraUnavailable, match=r"no pictures in folder|can be read"):
        FileCamera("north", tmp_path).open()
