"""The matrix: for each kind of update, at each step, before and after it, alone or with the whole box: a kill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.update.rig import Rig

GOOD = ("good", "config")
BROKEN = ("blind config", "crashes", "hangs", "unimportable", "blind", "mute", "cannot store")


@dataclass(frozen=True, slots=True)
class Kill:
    """step: from 1, of those that the updater takes. power: the agent dies too, and what was not synced is undone."""

    kind: str
    step: int
    name: str
    when: str
    power: bool

    def __str__(self) -> str:
        how = "power cut" if self.power else "killed"
        return f"{self.kind}: {how} {self.when} step {self.step} ({self.name})"


@dataclass
class Figures:
    runs: int = 0
    failed: list[str] = field(default_factory=list)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)  # kind, how it ended → how often
    longest_s: float = 0.0

    def lines(self) -> Iterator[str]:
        yield f"{self.runs} runs, {self.runs - len(self.failed)} ended with a running agent and a drained outbox"
        for kind in sorted({kind for kind, _ in self.ends}):
            ends = ", ".join(f"{n} {end}" for (one, end), n in sorted(self.ends.items()) if one == kind)
            yield f"  {kind}: {ends}"
        yield from (f"FAILED {problem}" for problem in self.failed)
        yield f"longest from the kill to all well: {self.longest_s:.1f} s"


def steps_of(rig: Rig, kind: str) -> list[str]:
    """Of an update that nobody disturbs; it must end as it should."""
    version = rig.offer(kind)
    done = rig.updater("work", kind=kind)
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = "confirmed" if kind in GOOD else "rolled-back"
    last = rig.reports()[-1]
    assert (last.version, last.result) == (version, wanted), f"{kind}: {last}"
    problems = rig.problems()
    assert not problems, f"{kind}, undisturbed: {problems}"
    return done.stdout.splitlines()


def kills(kind: str, steps: list[str], *, full: bool) -> Iterator[Kill]:
    """All steps of what is good; of what is broken those from the trial on, as up to there all are the same.

    Not full: each step of the good is met before and after, one of the two as a power cut; of the broken each in one
    of these four ways, in turns.
    """
    first = 1 if kind in GOOD else steps.index("restart") - 3
    for number, name in enumerate(steps[first - 1 :], first):
        ways = [(when, power) for power in (False, True) for when in ("before", "after")]
        if not full and kind in GOOD:
            ways = [("before", number % 2 == 0), ("after", number % 2 == 1)]
        elif not full:
            ways = [ways[number % 4]]
        yield from (Kill(kind, number, name, when, power) for when, power in ways)


def run(rig: Rig, kill: Kill) -> tuple[str, list[str], float]:
    """How it ended, what is wrong, and how long it took from the kill until all was well, seconds."""
    before = rig.runs(kill.kind)
    version = rig.offer(kill.kind)
    options = ["--kill-at", str(kill.step), "--when", kill.when, *(["--power"] if kill.power else [])]
    done = rig.updater("work", *options, kind=kill.kind)
    began_s = time.monotonic()
    if done.returncode != -9 or not done.stderr.endswith(f"\ndies at {kill.name}"):
        said = f"the updater ended with {done.returncode}: {done.stderr[-500:]!r}"
        rig.finish_updates(kill.kind)
        return "not killed there", [f"{kill}: {said}", *rig.problems()], 0.0
    if kill.power:
        rig.service.power_off()
        rig.boot()
    rig.finish_updates(kill.kind)
    problems = rig.problems()
    took_s = time.monotonic() - began_s
    results = [report.result for report in rig.reports() if report.version == version]
    now = rig.runs(kill.kind)
    if kill.kind not in GOOD and now != before:
        problems.append(f"{now} runs, {before} was the last good one")
    if now not in (before, version):
        problems.append(f"{now} runs, which is neither the old nor the new")
    if not results or results[-1] not in ("confirmed", "rolled-back"):
        problems.append(f"reported is {results}")
    if (now == version) != (bool(results) and results[-1] == "confirmed"):
        problems.append(f"{now} runs and the last report is {results}")
    return results[-1] if results else "nothing", [f"{kill}: {problem}" for problem in problems], took_s


def campaign(
    rig: Rig, kinds: tuple[str, ...], *, full: bool, every: int = 1, say: Callable[[str], None] = print
) -> Figures:
    """every: of the kills, each so-manyth."""
    figures = Figures()
    steps_of(rig, "good")  # so that there is a release from before, as there will be ever after
    for kind in kinds:
        steps = steps_of(rig, kind)
        chosen = list(kills(kind, steps, full=full))[::every]
        say(f"{kind}: {len(steps)} steps, {len(chosen)} kills")
        for kill in chosen:
            end, problems, took_s = run(rig, kill)
            figures.runs += 1
            figures.ends[kind, end] += 1
            figures.longest_s = max(figures.longest_s, took_s)
            if problems:
                figures.failed.append("; ".join(problems))
            say(f"{'FAILED ' + '; '.join(problems) if problems else 'ok'}  {kill} -> {end}, {took_s:.1f} s")
    return figures
