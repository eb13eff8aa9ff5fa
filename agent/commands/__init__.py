"""What the operations centre asks of the box: taken if rightly signed, done at most once, answered, noted."""

from agent.commands.desk import Asked, AtOnce, Desk, Done, Handler, Later
from agent.commands.journal import Answer, Journal, Return
from agent.commands.request import Request, read_request, sign_request

__all__ = [
    "Answer",
    "Asked",
    "AtOnce",
    "Desk",
    "Done",
    "Handler",
    "Journal",
    "Later",
    "Request",
    "Return",
    "read_request",
    "sign_request",
]
