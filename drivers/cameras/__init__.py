"""Cameras: make one from a source string with `make_camera`."""

from drivers.cameras.credentials import Credentials
from drivers.cameras.decoder import NetworkCamera
from drivers.cameras.file import FileCamera
from drivers.cameras.source import SourceError, check_source, make_camera

__all__ = ["Credentials", "FileCamera", "NetworkCamera", "SourceError", "check_source", "make_camera"]
