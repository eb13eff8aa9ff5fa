"""ONVIF: find the cameras of the network and ask each for its streams. Used by `gateway-agent devices` alone.

A client of our own, of five questions: the libraries bring either a general SOAP machine (onvif-zeep-async: 27
packages) or little history. Here an answer cannot send the login to another address, and every answer has a bound. What
is kept away from: subscribing to events, moving cameras, changing anything.
"""

from drivers.cameras.onvif.client import OnvifFailed, Stream, list_streams
from drivers.cameras.onvif.discovery import OnvifDevice, discover

__all__ = ["OnvifDevice", "OnvifFailed", "Stream", "discover", "list_streams"]
