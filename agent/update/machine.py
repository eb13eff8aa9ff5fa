"""The life of an update, from the inbox to proven or back. Runs as root, from the proven release, one at a time.

What may happen at any moment is that this process ends: a power cut, a kill, a full disk. The next one reads state.json
and goes on (see state.py): what was prepared is prepared again, what was confirmed is finished, and a trial that nobody
watched to its end is over: the old is put back. `recover` does that at boot, before the service starts.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agent import config
from agent.clock import Clock
from agent.durable import set_link, sync_folder
from agent.errors import ConfigError, GatewayError, UpdateRefused
from agent.update import archive, claim, proof, state, units
from agent.update.install import install_wheels
from agent.update.manifest import NAMES, is_version, read_manifest, this_machine, this_python
from agent.update.places import Places
from agent.update.service import Service, SystemdService
from agent.update.slots import Install, Slot, link_target, make_folders, prune_releases, remove, slot_of
from agent.update.state import Job, Report, State
from agent.update.trust import load_trust
from agent.update.verify import BoxFacts, Now, Verified, update_id, verify

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_FLOOR_STEP_MS = 86_400_000  # written no more than daily
_RESTARTS = 3  # systemd has started it so often anew: it will not get better
_RELEASE = f"release:{NAMES['release']}"
INTERRUPTED = "the power failed, or the updater was killed, while it was being tried"


class Machine:
    """agent: the version of this program. prove_s: within which a trial must be healthy; hold_s: and stay so for as
    long, without being started anew.

    Raises, wherever it does something: OSError where the disk or systemd does not do its part; what was begun then goes
    on with the next call. UpdateRefused never leaves it: it becomes a report.
    """

    def __init__(
        self,
        places: Places,
        *,
        agent: str,
        clock: Clock,
        service: Service | None = None,
        install: Install = install_wheels,
        prove_s: float = 300.0,
        hold_s: float = 30.0,
        poll_s: float = 1.0,
        say: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._places = places
        self._agent = agent
        self._clock = clock
        self._service = service or SystemdService()
        self._install = install
        self._prove_s = prove_s
        self._hold_s = hold_s
        self._poll_s = poll_s
        self._say = say
        self._state = State()

    # ---- what is asked of it -----------------------------------------------------------------------------------------

    def work(self) -> None:
        """Go on with what was begun, then take what is in the inboxes, oldest first."""
        with self._alone():
            self._resume(restart=True)
            while (found := self._next()) is not None:
                inbox, one = found
                self._take(one.path, within=inbox, source=one.source)

    def apply(self, path: Path, *, downgrade: bool = False) -> Report:
        """One file, for a person who waits. The last thing that there is to say of it."""
        with self._alone():
            self._resume(restart=True)
            self._take(path, within=path.parent, source=None, downgrade=downgrade)
            return self._state.reports[-1]

    def recover(self) -> None:
        """At boot, before the service: put back what was not proven. Starts nothing."""
        with self._alone():
            self._resume(restart=False)

    def adopt(self, version: str) -> None:
        """The first release of a box, or one that a technician put there: taken for proven. Raises UpdateRefused."""
        with self._alone():
            self._state = state.load(self._places.state, set_aside=True)
            if self._state.job is not None:
                raise UpdateRefused(f"{self._state.job.file} is under way; let it come to its end: update work")
            target = f"releases/{version}"
            if not is_version(version) or not (self._places.root / target).is_dir():
                raise UpdateRefused(
                    f"{self._places.root / target} is not there; wanted the version of an installed release"
                )
            before = link_target(self._places.current)
            if before not in (None, target):
                set_link(self._places.previous, before)
            # Recorded first: what `current` points to without it is taken for unproven, and put back.
            set_link(self._places.proven, target)
            set_link(self._places.current, target)
            self._save(replace(self._state, installed={**self._state.installed, _RELEASE: version}))
            prune_releases(self._places)

    def judge(self, path: Path, *, downgrade: bool = False) -> Verified:
        """Whether a file would be taken. Changes nothing. Raises UpdateRefused, ConfigError."""
        self._state = state.load(self._places.state)
        with claim.opened(path, within=path.parent) as file:
            return verify(file, load_trust(self._places.trust), self._box(), self._now(), downgrade=downgrade)

    # ---- its phases --------------------------------------------------------------------------------------------------

    def _resume(self, *, restart: bool) -> None:
        self._state = state.load(self._places.state, set_aside=True)
        job = self._state.job
        if job is None:
            self._tidy(restart=restart)
            return
        if self._state.phase == "trying":
            self._give_up(job, INTERRUPTED)
        if self._state.phase in ("confirmed", "rolling-back"):
            self._go_on(restart=restart)
        elif restart:
            # Of what was prepared nobody knows how much is there: from the copy on, and not for ever.
            self._state = replace(self._state, phase="claimed")
            self._go_on()

    def _go_on(self, *, restart: bool = True) -> None:
        """From phase to phase, to idle."""
        while self._state.phase != "idle":
            job = self._state.job
            assert job is not None
            if job.source is not None:
                self._forget(job.source)
            if self._state.phase == "claimed":
                self._verify(job)
            elif self._state.phase == "verified":
                self._prepare(job)
            elif self._state.phase == "installed":
                self._switch(job)
            elif self._state.phase == "trying":
                try:
                    why = self._trial(job)
                except OSError as exc:  # a full disk, or systemd does not answer
                    why = f"the trial could not go on: {exc}"
                if why is None:
                    self._enter("confirmed", job)
                else:
                    self._give_up(job, why)
            elif self._state.phase == "confirmed":
                self._finish(job)
            elif self._state.phase == "rolling-back":
                self._roll_back(job, restart=restart)

    def _take(self, path: Path, *, within: Path, source: tuple[str, int, int] | None, downgrade: bool = False) -> None:
        # Anybody may have named it: what goes into logs and messages is harmless there.
        job = Job(file=re.sub(r"[^A-Za-z0-9._+ -]", "?", path.name)[:100], source=source, downgrade=downgrade)
        _log.info("%s: taken", job.file)
        remove(self._places.work)
        make_folders(self._places.work)
        try:
            with claim.opened(path, within=within) as file:
                claim.copy(file, self._claimed)
        except UpdateRefused as exc:
            self._refuse(job, str(exc))
        else:
            self._enter("claimed", job)
        self._go_on()

    def _verify(self, job: Job) -> None:
        if job.attempts >= _ATTEMPTS:
            if job.kind is not None:
                self._slot(job).discard()
            self._refuse(
                job, f"it was begun {_ATTEMPTS} times and never came to an end; look at the log of the updater"
            )
            return
        job = replace(job, attempts=job.attempts + 1)
        self._enter("claimed", job)
        try:
            with self._claimed.open("rb") as file:
                trust = load_trust(self._places.trust)
                verified = verify(file, trust, self._box(), self._now(), downgrade=job.downgrade)
        except (UpdateRefused, ConfigError) as exc:
            self._refuse(self._named(job), str(exc))
            return
        manifest = verified.manifest
        _log.info("%s: %s %s, signed by %s", job.file, manifest.kind, manifest.version, ", ".join(verified.signers))
        self._enter("verified", replace(self._named(job), doubt=verified.doubt))

    def _prepare(self, job: Job) -> None:
        slot = self._slot(job)
        try:
            self._unpack()
            slot.prepare(self._payload)
            os.sync()  # thousands of files, many written by others; before anybody says that they are there
        except UpdateRefused as exc:
            slot.discard()
            self._refuse(job, str(exc))
            return
        except OSError as exc:  # a full disk above all: what is half there makes room for what works
            slot.discard()
            self._refuse(job, f"it cannot be put on the disk: {exc}")
            return
        self._enter("installed", replace(job, before=slot.before()))

    def _switch(self, job: Job) -> None:
        slot = self._slot(job)
        if not slot.is_tried:
            self._enter("confirmed", job)
            return
        self._enter("trying", replace(job, baseline=proof.baseline(self._pulse())))

    def _trial(self, job: Job) -> str | None:
        """None: it is proven. Else why it is not."""
        slot = self._slot(job)
        slot.switch(self._payload)
        try:
            self._place_units()
        except OSError as exc:
            return f"its units cannot be put in place: {exc}"
        self._service.restart()
        version = job.version if job.kind == "release" else None
        began_s = self._clock.mono_s()
        healthy_since: tuple[int, float] | None = None
        report: int | None = None
        why = ["the agent gives no sign of life"]
        while self._clock.mono_s() - began_s < self._prove_s:
            self._clock.sleep(self._poll_s)
            status = self._service.status()
            if status.failed:
                return f"the service failed and is not started again; last seen: {'; '.join(why)}"
            if status.restarts >= _RESTARTS:
                return f"the service ended {status.restarts} times; last seen: {'; '.join(why)}"
            pulse = self._pulse()
            if report is None and pulse is not None and proof.is_new(pulse, job.baseline, version):
                # Not before: the old agent would tell it while it is being stopped, and prove that *it* can store.
                self._save(self._state.with_report(self._time_ms(), "accepted", job, job.doubt))
                self._tell()
                report = self._state.reported
            why = proof.doubts(pulse, job.baseline, version=version, report=report)
            if pulse is None or why:
                healthy_since = None
            elif healthy_since is None or healthy_since[0] != pulse.pid:
                healthy_since = (pulse.pid, self._clock.mono_s())
            elif self._clock.mono_s() - healthy_since[1] >= self._hold_s:
                return None
        return f"not healthy within {self._prove_s:.0f} s: {'; '.join(why) or 'not for long enough'}"

    def _finish(self, job: Job) -> None:
        self._slot(job).finish(self._payload)
        assert job.version is not None
        known = replace(
            self._state,
            installed={**self._state.installed, f"{job.kind}:{job.name}": job.version},
            # It was made before it was installed; where nobody has set the clock, that is something to know.
            floor_ms=max(self._state.floor_ms, job.created_ms) if job.doubt else self._state.floor_ms,
        )
        self._settle(known.with_report(self._time_ms(), "confirmed", job, job.doubt))

    def _give_up(self, job: Job, why: str) -> None:
        job = replace(job, why=why)
        try:
            self._enter("rolling-back", job)
        except OSError as exc:  # to the next one "trying" means the same; the box does not wait for a disk to empty
            _log.error("%s: %s; rolling back all the same", self._places.state, exc)
            self._state = replace(self._state, phase="rolling-back", job=job)

    def _roll_back(self, job: Job, *, restart: bool) -> None:
        slot = self._slot(job)
        slot.restore(job.before)
        self._place_units_if_possible()
        if restart:
            self._service.restart()
        slot.discard()
        self._settle(self._state.with_report(self._time_ms(), "rolled-back", job, job.why))

    def _refuse(self, job: Job, reason: str) -> None:
        if job.source is not None:
            self._forget(job.source)
        self._settle(self._state.with_report(self._time_ms(), "refused", job, reason))

    def _settle(self, told: State) -> None:
        """The end of a job, with the report that was added."""
        over = replace(told, phase="idle", job=None)
        try:
            self._save(over)
        except OSError:  # a full disk: make room with what is over
            remove(self._places.work)
            self._save(over)
        remove(self._places.work)
        self._tell()

    def _tidy(self, *, restart: bool) -> None:
        """Nothing is under way: what is here and belongs to nothing is what is left of something."""
        places = self._places
        remove(places.work)
        current, proven = link_target(places.current), link_target(places.proven)
        if current is not None and proven is None:
            set_link(places.proven, current)  # set up by hand: somebody meant it
        elif current != proven:
            _log.error("%s is %s, which was never proven; put back to %s", places.current, current, proven)
            set_link(places.current, proven)
            self._place_units_if_possible()
            if restart:
                self._service.restart()
        stamp = self._clock.stamp()
        if stamp.trusted and abs(stamp.wall_ms - self._state.floor_ms) > _FLOOR_STEP_MS:
            # Downwards too: a clock that has been set is believed over one that was wrong before.
            self._save(replace(self._state, floor_ms=stamp.wall_ms))

    def _place_units(self) -> None:
        """Those of what is current."""
        changed = units.put_in_place(self._places, self._places.current)
        if changed:
            _log.info("changed with the release: %s", ", ".join(changed))
            self._service.reload(changed, units.to_enable(self._places, changed))

    def _place_units_if_possible(self) -> None:
        try:
            self._place_units()
        except OSError as exc:  # the old release with other units is better than the new one, which does not work
            _log.error("the units of %s cannot be put in place: %s", self._places.current.resolve().name, exc)

    # ---- helpers -----------------------------------------------------------------------------------------------------

    @property
    def _claimed(self) -> Path:
        return self._places.work / f"claimed{archive.SUFFIX}"

    @property
    def _payload(self) -> Path:
        return self._places.work / "payload"

    def _unpack(self) -> None:
        """From the copy that was verified, and held to its hashes once more while it is written."""
        remove(self._payload)
        self._payload.mkdir(mode=0o700)
        with self._claimed.open("rb") as file:
            manifest = read_manifest(archive.read_head(file).manifest)
            claim.require_space(self._places.work, manifest.total_bytes + manifest.needs_bytes)
            archive.read_payload(file, manifest.files, lambda name: (self._payload / name).open("xb"))

    def _named(self, job: Job) -> Job:
        """With what the manifest says, if it can be read; for reports, whether it is believed or not."""
        try:
            with self._claimed.open("rb") as file:
                head = archive.read_head(file)
            manifest = read_manifest(head.manifest)
        except UpdateRefused:
            return job
        return replace(
            job,
            kind=manifest.kind,
            name=manifest.name,
            version=manifest.version,
            previous=self._installed().get(manifest.key),
            update_id=update_id(head.manifest),
            created_ms=manifest.created_ms,
        )

    def _slot(self, job: Job) -> Slot:
        assert job.kind is not None
        assert job.name is not None
        assert job.version is not None
        return slot_of(self._places, job.kind, job.name, job.version, self._install)

    def _next(self) -> tuple[Path, claim.Found] | None:
        places = self._places
        for inbox, within in ((places.inbox, places.update), (places.agent_inbox, places.var)):
            for found in claim.waiting(inbox, within=within):
                return within, found
        return None

    def _forget(self, source: tuple[str, int, int]) -> None:
        path = Path(source[0])
        within = self._places.update if path.is_relative_to(self._places.update) else self._places.var
        claim.forget(source, within=within)

    def _installed(self) -> dict[str, str]:
        """The links say more than a file that may have been lost."""
        found = dict(self._state.installed)
        release = (link_target(self._places.proven) or "").removeprefix("releases/")
        if is_version(release):
            found[_RELEASE] = release
        return found

    def _box(self) -> BoxFacts:
        site = box = None
        try:
            settings = config.load(self._places.config)
            site, box = settings.box.site, settings.box.id
        except ConfigError as exc:
            _log.warning("without a usable configuration nobody knows which box this is: %s", exc)
        return BoxFacts(site, box, this_machine(), this_python(), self._installed(), self._agent)

    def _now(self) -> Now:
        stamp = self._clock.stamp()
        return Now(stamp.wall_ms if stamp.trusted else None, self._state.floor_ms)

    def _time_ms(self) -> int:
        return self._clock.stamp().wall_ms

    def _pulse(self) -> proof.Pulse | None:
        return proof.read_pulse(self._places.pulse, self._clock.boot_id, self._clock.mono_s())

    def _enter(self, phase: state.Phase, job: Job) -> None:
        self._save(replace(self._state, phase=phase, job=job))

    def _save(self, new: State) -> None:
        state.save(self._places.state, new)
        self._state = new

    def _tell(self) -> None:
        report = self._state.reports[-1]
        level = logging.INFO if report.result in ("accepted", "confirmed") else logging.ERROR
        _log.log(level, "%s: %s%s", report.file, report.result, f": {report.reason}" if report.reason else "")
        self._say(report)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One updater at a time. Raises GatewayError if another is at work."""
        os.umask(0o022)
        make_folders(self._places.update, self._places.inbox)
        with (self._places.update / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise GatewayError("another update is under way; wait for it: gateway-agent update status") from exc
            yield


def drop(file_path: Path, inbox: Path) -> Path:
    """Put a file into an inbox: under another name until it is whole. Raises OSError, UpdateRefused."""
    make_folders(inbox)
    part = inbox / f".{file_path.name}.part"
    with claim.opened(file_path, within=file_path.parent) as file:
        claim.copy(file, part)
    target = inbox / file_path.name
    part.replace(target)
    sync_folder(inbox)
    return target
