"""A question as the API and the command line ask it: a task, where to look, when to search, and how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .result import Answer, Result
from .search.budget import Budget
from .spec.claim import Protocol
from .spec.errors import AutoschedError, SpecError
from .store.layers import Layers, is_timed_here
from .store.machine import this_machine
from .store.match import EXACT
from .store.recent import everything, since, undrifted
from .store.records import Record, utc_now
from .store.store import DEFAULT_ALLOW
from .store.tools import RECHECK, REJECT, TRUST
from .ways import algorithms_of, allowed, default_schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .search.devices import Devices
    from .search.methods import Method
    from .search.progress import Watch
    from .search.rule import Rule
    from .spec.claim import Failure, Machine
    from .spec.schedule import Schedule
    from .spec.task import Task
    from .store.layers import Found
    from .store.records import SearchState
    from .store.store import Store

LOOKUP, LOOKUP_OR_DEFAULT, LOOKUP_OR_TUNE, RETUNE, FORGET = POLICIES = (
    "lookup", "lookup-or-default", "lookup-or-tune", "retune", "forget",
)  # fmt: skip
"""What to do for an answer: never measure; give the model's schedule where nothing is known; search where no search was
finished; search anew whatever is known; remove all that the store knows of the task, which gives no answer."""


class NothingMeasuredError(AutoschedError):
    """No schedule of a task could be built, run and verified; `failures` counts them by kind."""

    def __init__(self, failures: tuple[tuple[str, int], ...]) -> None:
        counts = ", ".join(f"{count} {kind}" for kind, count in failures) or "no trial was made"
        super().__init__(f"nothing was measured: {counts}; see the records of the store for each one's reason")
        self.failures = dict(failures)


def check_policy(policy: str) -> None:
    """Raises SpecError unless `policy` is one of `POLICIES`."""
    if policy not in POLICIES:
        raise SpecError(f"unknown policy {policy!r}; allowed: {', '.join(POLICIES)}", "policy")


def result_of(found: Found, drift: str = TRUST) -> Result:
    """What was found in some layer, as a result."""
    return Result(record=found.record, source="store", layer=found.layer, match=found.match, drift=drift)


def default_answer(task: Task, layers: Layers, machine: Machine) -> Answer:
    """The schedule of the analytic model, which nobody has timed."""
    schedule = default_schedule(task, machine, layers.store.speeds(machine, task.threads))
    record = Record(task=task, schedule=schedule, machine=machine, protocol=Protocol(threads=task.threads))
    return Answer(record=record, source="default")


def search_failures(task: Task, store: Store, machine: Machine | None = None) -> tuple[Failure, ...]:
    """How each of a task's trials on a machine, this one where none is given, failed that did."""
    records = store.records(task, machine or this_machine(), Protocol(threads=task.threads))
    return tuple(record.failure for record in records if record.failure is not None)


class Question:
    """What is asked of a search: `starts` are schedules from elsewhere that are tried first.

    The machine is this one unless there are `devices`; `rules` are those of `autosched.search.rules` unless given.
    `allow` lists the accuracy classes that will do; schedules of others are neither tried nor given.
    """

    def __init__(
        self,
        task: Task,
        layers: Layers,
        budget: Budget,
        *,
        policy: str = LOOKUP_OR_TUNE,
        drift: str = TRUST,
        starts: Sequence[Schedule] = (),
        rules: Sequence[Rule] | None = None,
        allow: Collection[str] = DEFAULT_ALLOW,
        devices: Devices | None = None,
    ) -> None:
        self.task = task
        self.layers = layers
        self.budget = budget
        self.policy = policy
        self.drift = drift
        self.starts = allowed(task, starts, allow)
        self.allow = allow
        self.rules = rules
        self.devices = devices

    @property
    def machine(self) -> Machine:
        """The machine that is asked about."""
        return this_machine() if self.devices is None else self.devices.machine

    def known(self) -> Result | None:
        """What a search as long as this one has found before; None where one is needed, or a second look.

        Also None where one of `starts`, or a schedule of the project's, was never tried here: it may be faster.
        """
        found = self._finished()
        return None if found is None or (self.drift == RECHECK and found.drifted) else found

    def best(self, match: str = EXACT) -> Result | None:
        """The best that some layer knows."""
        found = self.layers.best(self.task, self.machine, allow=self.allow, match=match, drift=self.drift)
        return None if found is None else result_of(found, self.drift)

    def search(self, *, method: Method = "auto", seed: int = 0, watch: Watch | None = None) -> Result:
        """What a search finds, or the next part of one.

        Where a search has found something before whose time has drifted, and "recheck" is the policy for that, only
        this and the default are timed. NothingMeasuredError where every trial failed.
        """
        if self.drift == RECHECK and self.devices is None and self._finished() is not None:
            return self._looked_again()

        from .search.progress import unwatched
        from .search.tuner import tune

        algorithms = algorithms_of(self.task, self.allow)
        options: dict[str, Any] = {"method": method, "seed": seed, "watch": watch or unwatched, **self._memory()}
        options |= {"algorithms": algorithms, "allow": self.allow}
        if self.devices is not None:
            options |= {"machine": self.devices.machine, "check": self.devices.check, "bench": self.devices.bench}
        if self.rules is not None:
            from .search.space import Space

            speeds = self.layers.store.speeds(self.machine, self.task.threads)
            options["space"] = Space(self.task, self.machine, self.rules, speeds, algorithms)
        tuned = tune(self.task, self.layers.store, **options)
        if tuned.record is None:
            raise NothingMeasuredError(tuned.failures)
        self.layers.share(tuned.record)
        return Result(record=tuned.record, source="default" if tuned.record.schedule == tuned.default else "search")

    def _looked_again(self) -> Result:
        """What is best after a recheck, which sets aside what got slower."""
        from .search.recheck import recheck

        recheck(self.task, self.layers.store, algorithms=algorithms_of(self.task))
        found = self.best()
        if found is None:
            raise NothingMeasuredError(())
        return found

    def state(self) -> SearchState | None:
        """How far the search for the task came."""
        return self.layers.store.search_state(self.task, self.machine)

    def _finished(self) -> Result | None:
        """What a search as long as this one has found before, whatever has changed since."""
        if self.policy == RETUNE:
            return None
        given = allowed(self.task, self.layers.project_schedules(self.task), self.allow)
        for schedule in (*self.starts, *given):
            record = self.layers.store.get(self.task, schedule, self.machine)
            if record is None or not (is_timed_here(record) or record.failed):
                return None
        state = self.state()
        return self.best() if state is not None and self._is_covered(state) else None

    def _is_covered(self, state: SearchState) -> bool:
        """True where a search came as far as is asked for; one that left out algorithms which are allowed did not."""
        budget = self.budget
        if state.finished >= budget.trials and {*DEFAULT_ALLOW}.issuperset(self.allow):
            return True
        from .search.rule import space_name  # here: what a lookup finds needs no word of spaces

        algorithms = algorithms_of(self.task, self.allow)
        name = space_name(self.rules, [algorithm.name for algorithm in algorithms])
        if any(algorithm.is_loose for algorithm in algorithms) and state.space != name:
            return False
        return state.covers(budget.trials, name, budget.early_stopping)

    def _memory(self) -> dict[str, Any]:
        """What a search begins with: which times in the store it relies on, what it tries first, and how long it is."""
        elsewhere = (*self.starts, *allowed(self.task, self.layers.starts(self.task, self.machine), self.allow))
        before = self.layers.store.best(self.task, self.machine, allow=self.allow)
        winner = () if before is None else (before.schedule,)
        if self.policy == RETUNE:
            return {"counts": since(utc_now()), "starts": (*winner, *elsewhere), "budget": self.budget}
        if self.drift == RECHECK and self._finished() is not None:
            return {"counts": undrifted(self.machine), "starts": winner, "budget": Budget(trials=1)}
        if self.drift == REJECT:
            return {"counts": undrifted(self.machine), "starts": (*winner, *elsewhere), "budget": self.budget}
        return {"counts": everything, "starts": elsewhere, "budget": self.budget}
