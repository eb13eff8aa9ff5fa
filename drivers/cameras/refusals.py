"""What the status of an HTTP or RTSP answer means to a technician. The same words whoever met it."""

from __future__ import annotations

import re


def status_words(status: int, *, has_login: bool) -> tuple[bool, str]:
    """(waiting will not mend it, sentence) for a status of 300 and more."""
    if status == 401 and has_login:
        return True, "the camera refuses the user or the password (401); correct them in its credentials file"
    if status == 401:
        return True, "the camera wants a login (401); put user and password into its credentials file"
    if status == 403:
        return True, "this user may not see the stream (403); see the camera's settings"
    if status == 404:
        return True, "the camera has no such stream (404); check the path in the source"
    if 300 <= status < 400:
        return True, f"the camera sends us to another address ({status}); write that one into the source"
    if 400 <= status < 500:
        return True, f"the camera refuses the request ({status}); check the source"
    return False, f"the camera answers with status {status}; it may be busy"


def status_in(sentence: str) -> int | None:
    """The status that one of the sentences above is about: the decoder process passes on sentences only."""
    found = re.search(r"\((\d{3})\)", sentence)
    return int(found[1]) if found else None
