"""The MQTT link: see `agent.uplink.uplink`. Only this package imports paho."""

from agent.uplink.settings import Broker, Login, Tls, UplinkSettings
from agent.uplink.uplink import Status, Uplink

__all__ = ["Broker", "Login", "Status", "Tls", "Uplink", "UplinkSettings"]
