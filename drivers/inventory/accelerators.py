"""Accelerators by what the kernel says of USB, PCI and the board: those that the detector can use, and those it cannot.

None of them has been run on its hardware yet.
"""

from __future__ import annotations

from pathlib import Path

from drivers.inventory.found import Found, word

LOOKED_FOR = (
    "Edge TPU (USB 1a6e:089a, 18d1:9302; PCI 1ac1:089a; /dev/apex_*)",
    "VeriSilicon NPU /dev/galcore",
    "Jetson",
)
_EDGE_TPU_USB = {
    ("1a6e", "089a"): "not started yet",
    ("18d1", "9302"): "started",
}  # it changes its id with its firmware
_EDGE_TPU_PCI = ("0x1ac1", "0x089a")
_UNUSABLE_PCI = {("0x1e60", "0x2864"): "Hailo-8"}
_DETECTOR = "[detector]"
_EDGE_TPU_NOTES = (
    "needs the library libedgetpu.so.1 of its maker, and a model pack with weights compiled for it (models/README.md)",
)


def list_accelerators(root: Path = Path("/")) -> list[Found]:
    return [*_edge_tpus(root), *_npu(root), *_jetson(root), *_unusable(root)]


def _edge_tpus(root: Path) -> list[Found]:
    found = []
    for device in sorted(root.glob("sys/bus/usb/devices/*")):
        state = _EDGE_TPU_USB.get((word(device / "idVendor"), word(device / "idProduct")))
        if state is not None:
            found.append(f"Edge TPU on USB {device.name}, {state}")
    pci = [device.name for device in _pci(root) if _ids(device) == _EDGE_TPU_PCI]
    nodes = [f"/{node.relative_to(root)}" for node in sorted(root.glob("dev/apex_[0-9]*"))]
    if pci or nodes:
        where = f"Edge TPU on PCI {', '.join(pci) or '(not listed)'}"
        driver = f", {', '.join(nodes)}" if nodes else "; no /dev/apex_*: its driver (gasket, apex) is not loaded"
        found.append(where + driver)
    lines = ('delegate = "edgetpu"',)
    return [Found(what, _EDGE_TPU_NOTES, _DETECTOR, lines) for what in found]


def _npu(root: Path) -> list[Found]:
    if not (root / "dev/galcore").exists():
        return []
    notes = ("needs libvx_delegate.so, which comes with the board's system",)
    return [Found("VeriSilicon NPU (/dev/galcore)", notes, _DETECTOR, ('delegate = "/usr/lib/libvx_delegate.so"',))]


def _jetson(root: Path) -> list[Found]:
    try:
        compatible = (root / "proc/device-tree/compatible").read_bytes()
    except OSError:
        return []
    if b"nvidia,tegra" not in compatible:
        return []
    model = word(root / "proc/device-tree/model") or "Jetson"
    return [Found(f"{model}: its GPU is not used by the detector; its ribbon-cable cameras are (csi:0)")]


def _unusable(root: Path) -> list[Found]:
    names = [(device.name, _UNUSABLE_PCI.get(_ids(device))) for device in _pci(root)]
    return [Found(f"{name} on PCI {place}: there is no TFLite delegate for it") for place, name in names if name]


def _pci(root: Path) -> list[Path]:
    return sorted(root.glob("sys/bus/pci/devices/*"))


def _ids(device: Path) -> tuple[str, str]:
    return word(device / "vendor"), word(device / "device")
