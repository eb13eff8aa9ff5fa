"""Faults one after another against one box, and a table of what they cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from signal import SIGKILL

from tests.fault.faults import Fault
from tests.fault.rig import Rig


@dataclass
class Account:
    """of one fault, over all the times it was injected."""

    name: str
    times: int = 0
    accepted: int = 0
    received: int = 0
    named: int = 0
    lost: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    silence_s: float = 0.0

    def add(self, other: Account) -> None:
        for field in ("times", "accepted", "received", "named", "lost", "out_of_order", "duplicates"):
            setattr(self, field, getattr(self, field) + getattr(other, field))
        self.silence_s = max(self.silence_s, other.silence_s)

    @property
    def clean(self) -> bool:
        return self.lost == self.out_of_order == self.duplicates == 0


class Campaign:
    """accounts: by the fault's name. also_kill: the share of faults during which the box is killed as well."""

    def __init__(self, rig: Rig, *, also_kill: float = 0.0) -> None:
        self.accounts: dict[str, Account] = {}
        self.notes: list[str] = []
        self.rig = rig
        self._also_kill = also_kill
        self._seen: set[int] = set()
        self._out_of_order = self._duplicates = 0

    def inflict(self, fault: Fault) -> Account:
        """Returns the account of this one time; notes say what was wrong with it."""
        rig = self.rig
        rig.wait_for_events(20)
        rig.witness.start_silence()
        fault.inject(rig)
        seconds = rig.chance.uniform(*fault.seconds)
        kill = rig.chance.random() < self._also_kill
        time.sleep(seconds / 2)
        if kill:
            rig.restart_box(SIGKILL)
        time.sleep(seconds / 2)
        fault.heal(rig)
        rig.wait_for_events(20)
        once = self._settle(fault)
        self.accounts.setdefault(fault.name, Account(fault.name)).add(once)
        return once

    def _settle(self, fault: Fault) -> Account:
        rig, witness = self.rig, self.rig.witness
        everything = rig.everything()
        fresh = everything - self._seen
        left = rig.settle(fresh)
        silent = fresh - witness.places.keys() - left
        lost = left if fault.may_name else left | silent
        once = Account(
            fault.name,
            times=1,
            accepted=len(fresh),
            received=len(fresh) - len(left) - len(silent),
            named=len(silent),
            lost=len(lost),
            out_of_order=len(witness.out_of_order) - self._out_of_order,
            duplicates=len(witness.duplicates) - self._duplicates,
            silence_s=witness.silence_s,
        )
        self._seen = everything
        self._out_of_order, self._duplicates = len(witness.out_of_order), len(witness.duplicates)
        time_ = self.accounts[fault.name].times + 1 if fault.name in self.accounts else 1
        wrong = list(witness.reused)
        witness.reused.clear()
        arrived = [message for message in witness.messages if message.get("track") in fresh]
        wrong += fault.check(rig, arrived)
        if lost:
            wrong.append(f"lost {sorted(lost)[:10]}")
        self.notes += [f"{fault.name}, time {time_}: {line}" for line in wrong]
        # As a technician does who has looked at them: the box never deletes what it set aside, and this disk is small.
        for file in rig.outbox.parent.glob(f"{rig.outbox.name}.damaged-*"):
            file.unlink()
        return once

    def holes(self) -> list[str]:
        """Numbers that the consumer still waits for, though every event has come: the ledger must have none."""
        return [f"{key}: {stretches}" for key, stretches in self.rig.witness.missing().items()]

    @property
    def clean(self) -> bool:
        return all(account.clean for account in self.accounts.values()) and not self.notes and not self.holes()

    def table(self) -> str:
        total = Account("total")
        for account in self.accounts.values():
            total.add(account)
        lines = [
            "| fault | times | accepted | received | named by the box | lost | out of order | "
            "duplicates after the ledger | longest silence |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {a.name} | {a.times} | {a.accepted} | {a.received} | {a.named} | {a.lost} | {a.out_of_order} | "
            f"{a.duplicates} | {a.silence_s:.1f} s |"
            for a in (*self.accounts.values(), total)
        ]
        return "\n".join(lines)
