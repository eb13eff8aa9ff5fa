"""Cameras: make one from a source string with `make_camera`; find those that are there with the three lists."""

from drivers.cameras.credentials import Credentials
from drivers.cameras.csi import CsiCamera
from drivers.cameras.decoder import NetworkCamera
from drivers.cameras.discover import FoundCamera, FoundCsi, list_cameras, list_csi, list_onvif
from drivers.cameras.file import FileCamera
from drivers.cameras.http_camera import HttpPictures
from drivers.cameras.source import SourceError, check_source, make_camera, network_address, video_device
from drivers.cameras.v4l2 import V4l2Camera, holders

__all__ = [
    "Credentials",
    "CsiCamera",
    "FileCamera",
    "FoundCamera",
    "FoundCsi",
    "HttpPictures",
    "NetworkCamera",
    "SourceError",
    "V4l2Camera",
    "check_source",
    "holders",
    "list_cameras",
    "list_csi",
    "list_onvif",
    "make_camera",
    "network_address",
    "video_device",
]
