import hashlib
import os

import numpy as np
import pytest

from drivers.base import ModelPackError
from drivers.inference import find_pack, load_pack
from tests.support.packs import tiny_pack

BUNDLED = ["ssd-mobilenet-v3-large-coco-320-int8", "ssdlite-mobilenet-v2-coco-300-int8"]


@pytest.fixture
def pack(tmp_path):
    return tiny_pack(tmp_path / "tiny", "ssd-raw-int8", "ssd-raw")


def edit(pack, old, new):
    manifest = pack / "manifest.toml"
    text = manifest.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the manifest"
    manifest.write_text(text.replace(old, new))


def rehash(pack, name):
    """Let the manifest hold the file as it now is."""
    manifest = pack / "manifest.toml"
    lines = manifest.read_text().splitlines()
    at = lines.index(f'file = "{name}"')
    lines[at + 1] = f'sha256 = "{hashlib.sha256((pack / name).read_bytes()).hexdigest()}"'
    manifest.write_text("\n".join(lines))


def complaint(pack):
    with pytest.raises(ModelPackError) as error:
        load_pack(pack)
    return str(error.value)


def test_a_sound_pack_says_who_it_is(pack):
    assert load_pack(pack).label == "tiny 1.2.3"


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_packs_are_sound(name):
    loaded = load_pack(find_pack(name))
    assert loaded.manifest.name == name
    assert loaded.manifest.labels.map.keys() == {"person", "bicycle", "motorcycle", "car", "bus", "truck"}


def test_a_pack_that_is_not_there_is_named(tmp_path):
    assert f"{tmp_path / 'gone'}: found nothing" in complaint(tmp_path / "gone")


def test_a_file_instead_of_a_pack_is_named(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"")
    assert "found a file; wanted a folder" in complaint(tmp_path / "model.tflite")


def test_a_folder_without_a_manifest_is_no_pack(tmp_path):
    assert "no manifest.toml" in complaint(tmp_path)


def add_variant(pack, name="edgetpu"):
    data = (pack / "weights.tflite").read_bytes()
    (pack / "weights_edgetpu.tflite").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with (pack / "manifest.toml").open("a") as manifest:
        manifest.write(f'\n[variant.{name}]\nfile = "weights_edgetpu.tflite"\nsha256 = "{digest}"\n')


def test_weights_for_an_accelerator_are_loaded_where_the_pack_has_some(pack):
    add_variant(pack)
    assert load_pack(pack, variant="edgetpu").variant == "edgetpu"
    assert load_pack(pack, variant="libvx_delegate").variant is None
    assert load_pack(pack).variant is None


def test_damaged_weights_for_an_accelerator_are_noticed_by_those_who_want_them(pack):
    add_variant(pack)
    (pack / "weights_edgetpu.tflite").write_bytes(b"damaged")
    load_pack(pack)
    with pytest.raises(ModelPackError, match=r"weights_edgetpu\.tflite is damaged or was changed"):
        load_pack(pack, variant="edgetpu")


@pytest.mark.parametrize("name", ["weights.tflite", "anchors.npy", "labels.txt"])
def test_a_missing_file_is_named(pack, name):
    (pack / name).unlink()
    assert f"{name} is missing" in complaint(pack)


@pytest.mark.parametrize("name", ["weights.tflite", "anchors.npy", "labels.txt"])
def test_a_flipped_bit_is_noticed(pack, name):
    file = pack / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert f"{name} is damaged or was changed: sha256 {hashlib.sha256(data).hexdigest()}" in complaint(pack)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param('version = "1.2.3"', 'version = "1.2.3"\nversoin = 1', "versoin", id="unknown key"),
        pytest.param("nms_iou = 0.6", "nms_iou = 6", "nms_iou", id="value out of range"),
        pytest.param('kind = "ssd-raw"', 'kind = "ssd"', "ssd-raw", id="unknown decoder"),
        pytest.param(
            'file = "weights.tflite"', 'file = "../weights.tflite"', "weights.file", id="path out of the pack"
        ),
        pytest.param('red = "person"', 'red = "tram"', "labels.map.red", id="class nobody counts"),
        pytest.param('name = "tiny"', "name = tiny", "not TOML", id="not TOML"),
    ],
)
def test_a_wrong_manifest_is_refused_by_its_key(pack, old, new, told):
    edit(pack, old, new)
    text = complaint(pack)
    assert "manifest.toml" in text
    assert told in text


def test_a_label_that_the_network_lacks_is_named(pack):
    edit(pack, 'red = "person"', 'rde = "person"')
    assert "labels.map names 'rde'" in complaint(pack)


def test_weights_that_are_no_network_are_refused(pack):
    (pack / "weights.tflite").write_bytes(os.urandom(4096))
    rehash(pack, "weights.tflite")
    assert "weights.tflite is not a TFLite network" in complaint(pack)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("width_px = 16", "width_px = 17", id="size"),
        pytest.param('dtype = "int8"', 'dtype = "float32"', id="type"),
    ],
)
def test_an_input_that_is_not_as_told_shows_both(pack, old, new):
    edit(pack, old, new)
    text = complaint(pack)
    assert "takes int8 [1, 16, 16, 3]" in text
    assert ("float32 [1, 16, 16, 3]" if "dtype" in old else "int8 [1, 16, 17, 3]") in text


def test_anchors_of_another_network_are_refused(pack):
    np.save(pack / "anchors.npy", np.zeros((5, 4), np.float32))
    rehash(pack, "anchors.npy")
    assert "wanted [1, 5, 4]: 4 box encodings for each of 5 anchors" in complaint(pack)


def test_anchors_of_another_shape_are_refused(pack):
    np.save(pack / "anchors.npy", np.zeros((4, 2), np.float32))
    rehash(pack, "anchors.npy")
    assert "anchors.npy holds float32 [4, 2]" in complaint(pack)


def test_labels_of_another_network_are_refused(pack):
    (pack / "labels.txt").write_text("red\ngreen\nblue\nyellow\n")
    rehash(pack, "labels.txt")
    assert "wanted [1, 4, 5]: 5 scores" in complaint(pack)


def test_a_head_of_another_kind_is_refused(tmp_path):
    pack = tiny_pack(tmp_path / "tiny", "yolo-v5-int8", "yolo-v8")
    assert "decoder.kind is 'yolo-v8'" in complaint(pack)


def test_ssd_heads_without_anchors_are_refused(pack):
    manifest = pack / "manifest.toml"
    text = manifest.read_text()
    start, end = text.index("[anchors]"), text.index("[labels]")
    manifest.write_text(text[:start] + text[end:])
    assert "has no [anchors]" in complaint(pack)


def test_a_name_without_a_slash_is_a_bundled_pack():
    assert find_pack(BUNDLED[0]).name == BUNDLED[0]


def test_an_unknown_name_lists_what_is_bundled():
    with pytest.raises(ModelPackError, match=BUNDLED[1]):
        find_pack("ssd-mobilenet")


def test_a_path_is_taken_as_it_is():
    assert str(find_pack("./some/where")) == "some/where"
