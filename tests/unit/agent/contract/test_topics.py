"""Topic names, and that nothing that could widen a subscription gets into one."""

from __future__ import annotations

import pytest

from agent.contract.event import Stream
from agent.contract.topics import BoxTopics, Topic, check_id, parse_topic

BOX = BoxTopics("cua-bac", "gw-01")


def test_topics_are_the_published_ones() -> None:
    built = [
        BOX.state,
        BOX.health,
        BOX.command,
        BOX.reply,
        BOX.ledger(Stream.ALERT, "north"),
        BOX.evidence("7-ab"),
        BOX.diagnostics("7-ab"),
    ]
    assert built == [
        "gw/v1/cua-bac/gw-01/state",
        "gw/v1/cua-bac/gw-01/health",
        "gw/v1/cua-bac/gw-01/command",
        "gw/v1/cua-bac/gw-01/reply",
        "gw/v1/cua-bac/gw-01/alert/north",
        "gw/v1/cua-bac/gw-01/evidence/7-ab",
        "gw/v1/cua-bac/gw-01/diagnostics/7-ab",
    ]


@pytest.mark.parametrize("bad", ["", "a/b", "a+", "#", "$SYS", "cửa", "-a", "a" * 33, "a b", "a\n"])
def test_ids_that_cannot_stand_in_a_topic_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="wanted 1 to 32"):
        check_id(bad)
    with pytest.raises(ValueError, match="site"):
        BoxTopics(bad, "gw-01")
    with pytest.raises(ValueError, match="source"):
        BOX.ledger(Stream.COUNT, bad)
    with pytest.raises(ValueError, match="evidence"):
        BOX.evidence(bad)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("gw/v1/cua-bac/gw-01/state", Topic("cua-bac", "gw-01", channel="state")),
        ("gw/v1/cua-bac/gw-01/reading/t1", Topic("cua-bac", "gw-01", Stream.READING, "t1")),
        ("gw/v1/cua-bac/gw-01/evidence/7-ab", Topic("cua-bac", "gw-01", channel="evidence", item="7-ab")),
        ("gw/v1/cua-bac/gw-01/diagnostics/7-ab", Topic("cua-bac", "gw-01", channel="diagnostics", item="7-ab")),
        ("gw/v1/cua-bac/gw-01/evidence", None),
        ("gw/v1/cua-bac/gw-01/novelty", None),
        ("gw/v1/cua-bac/gw-01/alert", None),
        ("gw/v1/cua-bac/gw-01/alert/north/more", None),
        ("gw/v2/cua-bac/gw-01/state", None),
        ("frigate/events", None),
        ("", None),
    ],
)
def test_topics_are_taken_apart(text: str, topic: Topic | None) -> None:
    assert parse_topic(text) == topic
