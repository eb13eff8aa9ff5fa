"""Guests: virtual machines for what must not happen to this one, or what it lacks. See `tests.guest.guest`."""

from tests.guest.disk import CachedDisk, Disk, FileDisk, make_ext4
from tests.guest.guest import Guest
from tests.guest.image import Image, Recipe, image
from tests.guest.tools import GuestError, why_not

__all__ = ["CachedDisk", "Disk", "FileDisk", "Guest", "GuestError", "Image", "Recipe", "image", "make_ext4", "why_not"]
