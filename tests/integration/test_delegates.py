"""Accelerators by a real shared library with the stable delegate interface, compiled here: it works, and it fails."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from drivers.inference import accelerator, open_detector
from tests.support.command import gateway_agent
from tests.support.packs import tiny_pack

SOURCE = Path(__file__).parents[1] / "support" / "delegate.c"
PICTURE = np.full((64, 64, 3), (0, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc; apt-get install gcc libc6-dev")
    path = tmp_path_factory.mktemp("delegate") / "libtest_delegate.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, SOURCE], check=True)
    return path


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw")


def test_a_delegate_is_loaded_with_its_options_and_named(library: Path, pack: Path, tmp_path: Path) -> None:
    note = tmp_path / "note"
    detector = open_detector(pack, delegate=str(library), delegate_options={"note": str(note)})
    assert len(detector.detect(PICTURE, 0.5)) == 4
    assert detector.runtime.endswith(" on libtest_delegate")
    assert note.read_text() == "loaded\nloaded\n", "once to try it out, once to use it"
    detector.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"refuse": "no device\nfound"}, "no device found", id="it finds no device"),
        pytest.param({"refuse_network": "1"}, "after delegate application failure", id="it refuses the network"),
        pytest.param({"crash": "1"}, "it was ended by SIGSEGV", id="it crashes"),
        pytest.param({"hang": "1"}, "did not finish one look within 2 s", id="it hangs"),
    ],
)
def test_a_delegate_that_fails_leaves_the_work_to_the_processor_and_says_so(
    library: Path,
    pack: Path,
    options: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if "hang" in options:
        monkeypatch.setattr(accelerator, "_TRIAL_TIMEOUT_S", 2.0)
    detector = open_detector(pack, delegate=str(library), delegate_options=options)
    assert len(detector.detect(PICTURE, 0.5)) == 4
    assert " on cpu, not libtest_delegate: " in detector.runtime
    assert words in detector.runtime
    assert words in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("delegate", "words"),
    [
        ("/usr/lib/libno_such.so", "cannot open shared object file"),
        ("libm.so.6", "undefined symbol: tflite_plugin_create_delegate"),
        ("edgetpu", "libedgetpu.so.1: cannot open shared object file"),
    ],
)
def test_a_library_that_is_none_leaves_the_work_to_the_processor(pack: Path, delegate: str, words: str) -> None:
    detector = open_detector(pack, delegate=delegate)
    assert len(detector.detect(PICTURE, 0.5)) == 4
    assert words in detector.runtime


def test_an_accelerator_that_fails_at_work_is_given_up_without_losing_a_picture(
    library: Path, pack: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector = open_detector(pack, delegate=str(library))

    class Unplugged:
        """The network, but for the one call."""

        def __init__(self, network: object) -> None:
            self._network = network

        def __getattr__(self, name: str) -> object:
            return getattr(self._network, name)

        def invoke(self) -> None:
            raise RuntimeError("the device is gone")

    detector._network = Unplugged(detector._network)
    assert len(detector.detect(PICTURE, 0.5)) == 4
    assert detector.runtime.endswith("on cpu, not libtest_delegate: it failed at work: the device is gone")
    assert len(detector.detect(PICTURE, 0.5)) == 4
    assert len(caplog.records) == 1


def test_weights_made_for_the_accelerator_are_taken_and_those_of_the_processor_when_it_fails(
    library: Path, pack: Path
) -> None:
    (pack / "weights_test.tflite").write_bytes((pack / "weights.tflite").read_bytes())
    digest = subprocess.run(["sha256sum", pack / "weights_test.tflite"], capture_output=True, text=True, check=True)
    with (pack / "manifest.toml").open("a") as manifest:
        manifest.write(f'\n[variant.libtest_delegate]\nfile = "weights_test.tflite"\nsha256 = "{digest.stdout[:64]}"\n')
    assert open_detector(pack, delegate=str(library)).pack.variant == "libtest_delegate"
    assert open_detector(pack, delegate=str(library), delegate_options={"refuse": "no"}).pack.variant is None
    assert open_detector(pack).pack.variant is None
    shown = gateway_agent("model", str(pack))
    assert shown.returncode == 0
    assert "  for libtest_delegate: fine, " in shown.stdout
    (pack / "weights_test.tflite").write_bytes(b"damaged")
    assert "weights_test.tflite is damaged or was changed" in gateway_agent("model", str(pack)).stderr
