"""Cameras: make one from a source string with `make_camera`."""

from drivers.cameras.file import FileCamera
from drivers.cameras.source import Credentials, SourceError, check_source, make_camera

__all__ = ["Credentials", "FileCamera", "SourceError", "check_source", "make_camera"]
