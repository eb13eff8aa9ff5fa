"""Object detection from model packs on a TFLite runtime."""

from drivers.inference.accelerator import CPU, check_delegate
from drivers.inference.pack import Manifest, ModelPack, find_pack, list_packs, load_pack
from drivers.inference.runtime import runtime_name
from drivers.inference.tflite import TfliteDetector, open_detector

__all__ = [
    "CPU",
    "Manifest",
    "ModelPack",
    "TfliteDetector",
    "check_delegate",
    "find_pack",
    "list_packs",
    "load_pack",
    "open_detector",
    "runtime_name",
]
