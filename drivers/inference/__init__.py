"""Object detection from model packs on a TFLite runtime."""

from drivers.inference.pack import Manifest, ModelPack, find_pack, list_packs, load_pack
from drivers.inference.runtime import runtime_name
from drivers.inference.tflite import TfliteDetector, open_detector

__all__ = [
    "Manifest",
    "ModelPack",
    "TfliteDetector",
    "find_pack",
    "list_packs",
    "load_pack",
    "open_detector",
    "runtime_name",
]
