"""Which files a box takes: signatures, expiry, for whom, which version; and what it says of those it refuses."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from agent.errors import ConfigError, UpdateRefused
from agent.update import archive
from agent.update.manifest import canonical, newer, read_manifest, this_machine, this_python, time_ms
from agent.update.trust import parse_trust
from agent.update.verify import UNSET, BoxFacts, Now, Verified, verify
from tests.support.updates import CREATED, EXPIRES, NOW_MS, signatures, signed_head, trust_text, update_file

FILES = {"one.whl": b"1" * 1000}
BOX = BoxFacts("cua-bac", "gw-01", this_machine(), this_python(), {"release:gateway-agent": "0.1.0"}, "0.1.0")
NOW = Now(NOW_MS, 0)


def judge(data: bytes, *, trust: str = "", box: BoxFacts = BOX, now: Now = NOW, downgrade: bool = False) -> Verified:
    return verify(io.BytesIO(data), parse_trust(trust or trust_text(), "trust.toml"), box, now, downgrade=downgrade)


def refusal(data: bytes, **given: Any) -> str:
    with pytest.raises(UpdateRefused) as caught:
        judge(data, **given)
    return str(caught.value)


# ---- signatures ------------------------------------------------------------------------------------------------------


def test_a_file_signed_by_enough_people_is_taken() -> None:
    verified = judge(update_file(FILES, "anh", "chi"))
    assert (verified.signers, verified.doubt, verified.manifest.version) == (("anh", "chi"), None, "0.2.0")


@pytest.mark.parametrize(
    ("signers", "found"),
    [
        pytest.param(("anh",), "signed by 1 key(s) that trust.toml lets sign a release (anh)", id="too few"),
        pytest.param(("mallory",), "signed by 0 key(s)", id="a stranger"),
        pytest.param(("anh", "mallory"), "signed by 1 key(s)", id="one and a stranger"),
    ],
)
def test_a_file_signed_by_too_few_is_refused(signers: tuple[str, ...], found: str) -> None:
    why = refusal(update_file(FILES, *signers))
    assert why.startswith(found)
    assert why.endswith("wanted 2 of anh, binh, chi")


def test_a_file_without_signatures_is_refused() -> None:
    head, manifest = signed_head(FILES)
    out = io.BytesIO()
    archive.write(out, head, manifest.files, lambda name: io.BytesIO(FILES[name]))
    assert refusal(out.getvalue()).startswith("signed by 0 key(s)")


def test_the_same_signature_under_another_name_counts_once() -> None:
    head, manifest = signed_head(FILES, "anh")
    (signature,) = json.loads(head.signatures).values()
    head = replace(head, signatures=canonical({**json.loads(head.signatures), "0" * 16: signature}))
    out = io.BytesIO()
    archive.write(out, head, manifest.files, lambda name: io.BytesIO(FILES[name]))
    assert refusal(out.getvalue()).startswith("signed by 1 key(s)")


def test_the_signatures_of_one_file_are_worth_nothing_under_another() -> None:
    head, _ = signed_head(FILES, "anh", "binh")
    other, manifest = signed_head({"one.whl": b"evil"}, "mallory")
    out = io.BytesIO()
    archive.write(out, archive.Head(other.manifest, head.signatures), manifest.files, lambda _: io.BytesIO(b"evil"))
    assert refusal(out.getvalue()).startswith("signed by 0 key(s)")


def test_a_key_signs_only_what_it_may() -> None:
    trust = trust_text("anh", "binh", may_sign=("config", "trust"), threshold={"release": 1, "pack": 1})
    with pytest.raises(ConfigError, match=r"threshold.release is 1, but 0 key\(s\)"):
        parse_trust(trust, "trust.toml")
    trust = trust.replace('may_sign = ["config", "trust"]', 'may_sign = ["config", "trust", "release", "pack"]', 1)
    assert "(anh)" not in refusal(update_file(FILES, "binh"), trust=trust)
    assert judge(update_file(FILES, "anh"), trust=trust).signers == ("anh",)


def test_a_payload_that_was_changed_is_refused_though_its_manifest_is_signed() -> None:
    data = update_file(FILES).replace(b"1" * 1000, b"1" * 999 + b"2")
    assert refusal(data).startswith("one.whl is damaged or was changed")


def test_a_manifest_in_another_form_is_refused_though_it_is_signed() -> None:
    head, manifest = signed_head(FILES)
    loose = json.dumps(json.loads(head.manifest)).encode()
    out = io.BytesIO()
    loose_head = archive.Head(loose, signatures(loose, "anh", "binh"))
    archive.write(out, loose_head, manifest.files, lambda name: io.BytesIO(FILES[name]))
    assert "not written in the form that is signed" in refusal(out.getvalue())


def test_a_condition_that_this_agent_does_not_know_is_not_passed_over() -> None:
    head, _ = signed_head(FILES)
    data = canonical({**json.loads(head.manifest), "only_on_sundays": True})
    with pytest.raises(UpdateRefused, match="only_on_sundays"):
        read_manifest(data)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "x" * 101, "a\0b"])
def test_a_file_name_that_could_lead_anywhere_is_refused(name: str) -> None:
    head, _ = signed_head(FILES)
    data = head.manifest.replace(b'"one.whl"', json.dumps(name).encode())
    with pytest.raises(UpdateRefused):
        read_manifest(data)


# ---- time ------------------------------------------------------------------------------------------------------------


def test_an_expired_file_is_refused() -> None:
    assert refusal(update_file(FILES), now=Now(time_ms(EXPIRES), 0)) == (
        f"it has expired on {EXPIRES}; have it signed anew"
    )


def test_a_box_without_a_clock_refuses_what_had_expired_before_the_latest_time_it_knows() -> None:
    assert "it has expired" in refusal(update_file(FILES), now=Now(None, time_ms(EXPIRES)))


def test_a_box_without_a_clock_takes_what_may_have_expired_and_says_that_it_cannot_tell() -> None:
    assert judge(update_file(FILES), now=Now(None, time_ms(EXPIRES) - 1)).doubt == UNSET
    assert judge(update_file(FILES), now=Now(None, 0)).doubt == UNSET


def test_a_clock_that_was_set_is_believed_over_a_floor_that_is_too_late() -> None:
    assert judge(update_file(FILES), now=Now(NOW_MS, time_ms("2099-01-01T00:00:00Z"))).doubt is None


def test_a_file_from_the_future_is_refused() -> None:
    early = Now(time_ms(CREATED) - 2 * 86_400_000, 0)
    assert "one of the two clocks is wrong" in refusal(update_file(FILES), now=early)


def test_an_expired_trust_file_lets_through_nothing_but_a_new_one() -> None:
    old = trust_text(expires="2027-01-10T00:00:00Z")
    assert "may only sign a new trust file" in refusal(update_file(FILES), trust=old)
    assert judge(new_trust("binh", "chi"), trust=old).manifest.kind == "trust"


# ---- for whom --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        pytest.param({"machine": "riscv64"}, "it is for riscv64 with Python", id="another board"),
        pytest.param({"python": "3.99"}, "with Python 3.99; this box is", id="another Python"),
        pytest.param({"sites": ["cua-nam"]}, "it is for site cua-nam; this box is at cua-bac", id="another site"),
        pytest.param(
            {"boxes": ["cua-bac/gw-02"]}, "it is for cua-bac/gw-02; this box is cua-bac/gw-01", id="another box"
        ),
        pytest.param({"minimum_agent": "0.1.1"}, "it needs agent 0.1.1 or newer; this box runs 0.1.0", id="too old"),
    ],
)
def test_a_file_for_another_box_is_refused(fields: dict[str, Any], why: str) -> None:
    assert why in refusal(update_file(FILES, **fields))


def test_a_file_for_this_box_among_others_is_taken() -> None:
    judge(update_file(FILES, sites=["cua-nam", "cua-bac"], boxes=["cua-bac/gw-02", "cua-bac/gw-01"]))


def test_a_box_that_does_not_know_its_name_takes_only_what_is_for_all() -> None:
    nameless = replace(BOX, site=None, box=None)
    judge(update_file(FILES), box=nameless)
    assert "nobody yet" in refusal(update_file(FILES, boxes=["cua-bac/gw-01"]), box=nameless)


# ---- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "than", "is_newer"),
    [("1.10", "1.9", True), ("1.9", "1.10", False), ("1.0", "1", False), ("1", "1.0", False), ("2", "1.9.9.9", True)],
)
def test_versions_are_numbers(version: str, than: str, is_newer: bool) -> None:
    assert newer(version, than) is is_newer


NEWER = replace(BOX, installed={"release:gateway-agent": "0.3.0"}, agent="0.3.0")


def test_a_replayed_older_version_is_refused() -> None:
    assert refusal(update_file(FILES), box=NEWER) == "version 0.2.0 is older than 0.3.0, which is installed"


def test_the_installed_version_is_refused() -> None:
    assert refusal(update_file(FILES, version="0.1")) == "version 0.1 is what is installed"


@pytest.mark.parametrize(("signed", "asked", "taken"), [(1, 1, True), (1, 0, False), (0, 1, False), (0, 0, False)])
def test_an_older_version_needs_leave_by_its_signers_and_by_a_person_on_the_box(
    signed: bool, asked: bool, taken: bool
) -> None:
    data = update_file(FILES, allow_downgrade=bool(signed))
    if taken:
        judge(data, box=NEWER, downgrade=bool(asked))
    else:
        assert "is older than 0.3.0" in refusal(data, box=NEWER, downgrade=bool(asked))


def test_versions_of_different_things_are_not_compared() -> None:
    box = replace(BOX, installed={**BOX.installed, "pack:other": "9"})
    judge(update_file({"manifest.toml": b""}, kind="pack", name="mine", version="1"), box=box)


# ---- keys ------------------------------------------------------------------------------------------------------------


def new_trust(
    *signers: str, names: tuple[str, ...] = ("binh", "chi", "dung"), version: int = 2, **fields: Any
) -> bytes:
    text = trust_text(*names, version=version, **fields).encode()
    return update_file({"trust.toml": text}, *signers, kind="trust", version=str(version))


@pytest.mark.parametrize(
    ("signers", "taken"),
    [
        pytest.param(("binh", "chi"), True, id="two who are in both"),
        pytest.param(("anh", "binh", "dung"), True, id="two of the old, two of the new"),
        pytest.param(("anh", "binh"), False, id="one of the new only"),
        pytest.param(("chi", "dung"), False, id="one of the old only"),
        pytest.param(("mallory", "dung"), False, id="a stranger"),
    ],
)
def test_new_keys_must_be_signed_by_enough_of_the_old_and_of_the_new(signers: tuple[str, ...], taken: bool) -> None:
    if taken:
        judge(new_trust(*signers))
    else:
        assert "wanted 2 of" in refusal(new_trust(*signers))


@pytest.mark.parametrize("version", [1, 3])
def test_trust_files_follow_each_other_without_a_gap(version: int) -> None:
    assert "wanted 2 in both" in refusal(new_trust("binh", "chi", version=version))


def test_a_new_trust_file_that_has_expired_is_refused() -> None:
    assert "the new trust file has expired" in refusal(new_trust("binh", "chi", expires="2027-01-02T00:00:00Z"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("trust = 2", ""), "threshold.trust is missing"),
        (("release = 2", "release = 4"), "threshold.release is 4, but 3 key"),
        (("2030-01-01T00:00:00Z", "2030-01-01T00:00:00"), "no time zone"),
        (("version = 1", "version = 1\ntypo = 2"), "typo"),
        (("[threshold]", "[threshold"), "not TOML"),
        (("version = 1", "version = " + "[" * 3000), "not TOML"),
    ],
)
def test_a_trust_file_that_cannot_be_meant_is_refused(change: tuple[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why.replace("(", "\\(")):
        parse_trust(trust_text().replace(*change, 1), "trust.toml")


def test_one_key_under_two_names_is_refused() -> None:
    text = trust_text("anh", "binh", "chi")
    anh = text.split("[key.anh]\n")[1].split("\n")[0]
    binh = text.split("[key.binh]\n")[1].split("\n")[0]
    with pytest.raises(ConfigError, match="two keys are the same"):
        parse_trust(text.replace(binh, anh), "trust.toml")
