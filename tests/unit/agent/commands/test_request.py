"""Whose a command is, and whether it is for this box and still good: all else is refused, and says why."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.commands import vectors
from agent.commands.request import NotTaken, Request, read_request, sign_request
from agent.contract.command import COMMANDS, MAX_LIFE_S, ROLES, Command, SnapshotArgs
from agent.update import keys
from agent.update.trust import CommanderTable, parse_trust
from agent.update.verify import UNSET, Now
from tests.support.commands import COMMANDERS, ask, claims, commanders_text, pem, token
from tests.support.updates import trust_text

NOW_S = 1_800_000_000
NOW = Now(NOW_S * 1000, 0)
BELIEVED = parse_trust(trust_text() + commanders_text(), "trust.toml").table.commander

KEY = keys.from_pem(pem("ad"), None)


def read(made: bytes, now: Now = NOW, box: str = "site/box") -> Request:
    return read_request(made, BELIEVED, box, now)


def fields(cmd: str = "ping", **changed: Any) -> dict[str, Any]:
    return {**claims(cmd, now_s=NOW_S), **changed}


def test_what_is_rightly_signed_is_read_with_its_signer_and_its_arguments() -> None:
    request = read(token("oanh", {**claims("snapshot", now_s=NOW_S, camera="north", id="q1"), "by": "Lan"}))
    assert (request.id, request.name, request.args) == ("q1", "snapshot", SnapshotArgs(camera="north"))
    assert (request.role, request.by, request.doubt) == ("operator", "Lan (oanh)", None)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (token("mallory", fields()), "which may not command this box; who may: vy, oanh, en, ad"),
        (token("vy", fields("reboot")), "vy is a viewer; reboot is for engineer and above"),
        (token("oanh", fields("config.set")), "oanh is a operator; config.set is for engineer and above"),
        (token("en", fields("agent.update")), "agent.update is for admin and above"),
        (token("ad", fields(iat=NOW_S - 7200, exp=NOW_S)), "it has expired; sign it anew"),
        (token("ad", fields(exp=NOW_S + MAX_LIFE_S + 1)), f"wanted at most {MAX_LIFE_S}"),
        (token("ad", fields(iat=NOW_S + 90_000, exp=NOW_S + 90_001)), "one of the two clocks is wrong"),
        (token("ad", fields(aud="site/other")), "it is for site/other; this box is site/box"),
        (token("ad", fields(aud=[])), "it is for nobody"),
        (token("ad", fields("fly")), "unknown command 'fly'; this agent knows: ping, "),
        (token("ad", fields("snapshot")), "args.camera: Field required; arguments of snapshot: camera"),
        (token("ad", fields("ping", args={"x": 1})), "args.x: Extra inputs are not permitted; arguments of ping: none"),
        (b"", "no signed command"),
        (b'{"command":"ping"}', "no signed command"),
        (b"a.b.c", "no signed command"),
        (b"\xff" * 100, "no signed command"),
        (b"e" * 300_000, "request of 300000 bytes; wanted at most 256000"),
    ],
)
def test_what_is_not_to_be_obeyed_says_why(made: bytes, why: str) -> None:
    with pytest.raises(NotTaken) as found:
        read(made)
    assert why in str(found.value)


@pytest.mark.parametrize("name", [*COMMANDS])
def test_each_command_is_for_its_role_and_those_above_and_for_none_below(name: str) -> None:
    for who, role in COMMANDERS.items():
        made = token(who, fields(name, args=ARGS.get(name, {})))
        if ROLES.index(role) >= ROLES.index(COMMANDS[name].role):
            assert read(made).name == name
        else:
            with pytest.raises(NotTaken, match="and above"):
                read(made)


ARGS = {one["claims"]["cmd"]: one["claims"]["args"] for one in vectors.build()["commands"]}


def forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> bytes:
    parts = [json.dumps(part).encode() for part in (header, payload)] + [signature]
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def test_a_token_cannot_choose_how_it_is_checked() -> None:
    public = BELIEVED["ad"].public
    header = {"typ": "gw-command+jwt", "kid": keys.key_id(public)}
    for made in (
        forged({**header, "alg": "none"}, fields()),
        forged({**header, "alg": "EdDSA"}, fields()),
        jwt.encode(fields(), "s" * 32, algorithm="HS256", headers=header).encode(),
        forged({**header, "alg": "EdDSA"}, fields(), b"\0" * 64),
        # Rightly signed, but as something else than a command.
        jwt.encode(fields(), KEY, algorithm="EdDSA", headers={"kid": header["kid"]}).encode(),
    ):
        with pytest.raises(NotTaken, match=r"its header says|not signed as it should be"):
            read(made)


def test_a_condition_that_is_not_kept_is_a_reason_to_refuse() -> None:
    header = {"typ": "gw-command+jwt", "kid": keys.key_id(BELIEVED["ad"].public)}
    made = jwt.encode(
        {**fields(), "nbf": NOW_S + 60}, keys.from_pem(pem("ad"), None), algorithm="EdDSA", headers=header
    )
    with pytest.raises(NotTaken, match="claim nbf"):
        read(made.encode())


@settings(max_examples=300, deadline=None)
@given(where=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_a_token_can_be_changed(where: int, bit: int) -> None:
    made = bytearray(ask("ad", "ping", id="q1"))
    made[where % len(made)] ^= 1 << bit
    try:
        request = read(bytes(made), Now(None, 0))
    except NotTaken:
        return
    # base64 has bits at its end that mean nothing
    assert (request.name, request.id, request.by) == ("ping", "q1", "ad")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_rubbish_is_refused_and_trips_nothing(made: bytes) -> None:
    with pytest.raises(NotTaken):
        read(made)


def test_a_box_that_does_not_know_the_time_takes_what_may_be_good_and_says_so() -> None:
    assert read(token("vy", fields()), Now(None, 0)).doubt == UNSET
    with pytest.raises(NotTaken, match="expired"):
        read(token("vy", fields()), Now(None, (NOW_S + 3600) * 1000))


def test_a_refusal_names_id_and_command_for_whoever_asked() -> None:
    with pytest.raises(NotTaken) as found:
        read(token("mallory", fields("reboot", jti="q7")))
    assert (found.value.id, found.value.command) == ("q7", "reboot")


def test_without_commanders_nobody_is_obeyed() -> None:
    with pytest.raises(NotTaken, match=r"who may: nobody: trust.toml has no \[commander"):
        read_request(token("ad", fields()), {}, "site/box", NOW)


def test_a_command_may_be_for_several_boxes() -> None:
    made = token("ad", fields(aud=["site/one", "site/box"]))
    assert read(made).id == read(made, box="site/one").id


# ---- the vectors -----------------------------------------------------------------------------------------------------


def test_the_vectors_are_up_to_date_and_cover_every_command() -> None:
    assert vectors.PATH.read_text(encoding="utf-8") == vectors.text(), "run: python -m agent.commands.vectors"
    assert [one["claims"]["cmd"] for one in vectors.build()["commands"]] == [*COMMANDS]


def test_the_vectors_are_taken_by_a_box_that_believes_their_key() -> None:
    made = json.loads(vectors.PATH.read_text(encoding="utf-8"))
    believed = {"test": CommanderTable(public=made["public"], role="admin")}
    for one in made["commands"]:
        at = Now(one["claims"]["iat"] * 1000, 0)
        assert read_request(one["token"].encode(), believed, "cua-bac/gw-01", at).name == one["name"]
        again = sign_request(
            Command.model_validate(one["claims"]), keys.to_pem(keys.from_seed(bytes.fromhex(made["seed"])), None), None
        )
        assert again == one["token"]
