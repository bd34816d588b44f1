"""The layers that an answer may come from: the project's spec files, the user's store, a shared server, shipped files.

What was timed on this very machine goes first, whichever layers there are. Then the first layer in this order that
knows the task: a project says what its people agreed on, so its claims go before what the store has only heard of.
"""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

import attrs

from ..spec.claim import Machine, Protocol
from ..spec.errors import StoreError
from .link import server_url
from .machine import this_machine
from .match import EXACT, check_match, nearest_first
from .recent import best_of, drifted, reduced, undrifted
from .records import MEASURED, Record
from .store import DEFAULT_ALLOW, Store
from .tools import REJECT, TRUST, check_drift

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ..spec.schedule import Schedule
    from ..spec.task import Task
    from .near import Near

logger = logging.getLogger("autosched.store")

PROJECT, USER, SERVER, SHIPPED = LAYERS = ("project", "user", "server", "shipped")
"""The layers by name, in the order in which they are asked."""

MARKER: Final = "autosched-specs"
"""A folder of this name, in the working folder or one above it, is the project's."""
MOST_STARTS: Final = 4
"""Schedules from elsewhere that a search begins with at most, beside those of the project's files."""


class Layer(Interface):
    """Something that knows answers. Every method may be slow but must end; trouble is logged and is a miss."""

    @property
    def name(self) -> str:
        """One of `LAYERS`."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people: a folder, an address."""
        ...

    def best(self, task: Task, machine: Machine, protocol: Protocol, allow: Collection[str]) -> Record | None:
        """The best verified record of a task on that very machine, in the names of `task`, as `Store.best` ranks."""
        ...

    def machines(self, task: Task, protocol: Protocol) -> Sequence[Machine]:
        """The machines on which it knows the task."""
        ...

    def near(self, task: Task, machine: Machine, most: int) -> Sequence[Near]:
        """Entries whose keys differ least from the one that is asked for: for people who wonder about a miss."""
        ...

    def status(self) -> str:
        """What it holds, or why it cannot be asked, in a few words."""
        ...

    def put(self, record: Record) -> None:
        """Keeps what was measured here, where the layer takes that; nothing happens where it does not."""
        ...


@attrs.frozen(kw_only=True)
class StoreLayer:
    """A store as a layer: the user's."""

    store: Store
    name: str = USER

    @property
    def place(self) -> str:
        """The store's folder."""
        return str(self.store.path)

    def best(self, task: Task, machine: Machine, protocol: Protocol, allow: Collection[str]) -> Record | None:
        return self.store.best(task, machine, protocol, allow)

    def machines(self, task: Task, protocol: Protocol) -> Sequence[Machine]:
        return self.store.machines_of(task, protocol)

    def near(self, task: Task, machine: Machine, most: int) -> Sequence[Near]:
        from .near import near_in_store

        return near_in_store(self.store, task, machine, most)

    def status(self) -> str:
        count = self.store.count_tasks()
        return f"{count} task{'s' * (count != 1)}"

    def put(self, record: Record) -> None:
        self.store.put(record)


@attrs.frozen(kw_only=True)
class Found:
    """A record, the layer it is from, and how near the machine is that it was measured on (`MATCHES`)."""

    record: Record
    layer: str = USER
    match: str = EXACT


@attrs.frozen(kw_only=True)
class Layers:
    """The user's store and what stands around it. The others are only looked for where the store does not decide.

    `project` names the folder of the project's spec files; None leaves it to AUTOSCHED_PROJECT, then to a folder
    ``autosched-specs`` in the working folder or above it; the empty text stands for no project. `server` is the URL of
    a shared server; None leaves it to AUTOSCHED_SERVER, the empty text stands for none.
    """

    store: Store
    project: str | os.PathLike[str] | None = None
    server: str | None = None

    def all(self) -> Iterator[Layer]:
        """Every layer there is, in order."""
        from .files import SpecFiles  # here: what the store decides needs no file, and no check of one

        folder = project_folder(self.project)
        if folder is not None:
            yield SpecFiles.of(PROJECT, folder)
        yield StoreLayer(store=self.store)
        if (url := server_url(self.server)) is not None:
            from .server import Server  # brings the client of the extra autosched[server]

            yield Server.of(url)
        yield SpecFiles.of(SHIPPED, SHIPPED_FOLDER)

    def best(
        self,
        task: Task,
        machine: Machine | None = None,
        protocol: Protocol | None = None,
        allow: Collection[str] = DEFAULT_ALLOW,
        *,
        match: str = EXACT,
        drift: str = TRUST,
    ) -> Found | None:
        """The best answer on machines down to the label `match`; None where no layer knows any.

        A nearer machine goes before a nearer layer. With `drift` "reject" only times taken with the tools of today
        count. StoreError where the project's folder is named and not there.
        """
        check_match(match)
        check_drift(drift)
        machine, protocol = machine or this_machine(), protocol or Protocol(threads=task.threads)
        record = self.store.best(task, machine, protocol, allow)
        if drift == REJECT and record is not None:
            counts = undrifted(machine)
            fresh = (reduced(known, counts) for known in self.store.records(task, machine, protocol))
            record = best_of(filter(None, fresh), allow)
        if record is not None and is_timed_here(record):
            return Found(record=record)
        for layer in self.all():
            heard = record if layer.name == USER else layer.best(task, machine, protocol, allow)
            if heard is None or (layer.name != USER and self._is_refuted(heard)):
                continue
            if not (drift == REJECT and drifted(heard)):
                if layer.name == SERVER:
                    self._keep(heard)
                return Found(record=heard, layer=layer.name)
        if match == EXACT:
            return None
        elsewhere = self._elsewhere(task, machine, protocol, allow, match)
        return next((found for found in elsewhere if not (drift == REJECT and drifted(found.record))), None)

    def starts(
        self, task: Task, machine: Machine | None = None, protocol: Protocol | None = None
    ) -> tuple[Schedule, ...]:
        """Schedules that a search should begin with: the project's, what others claim of such a machine, and of others.

        The store's own claims of this machine are not among them: a search sees to those.
        """
        machine, protocol = machine or this_machine(), protocol or Protocol(threads=task.threads)
        around = [layer for layer in self.all() if layer.name not in (PROJECT, USER)]
        heard = [layer.best(task, machine, protocol, DEFAULT_ALLOW) for layer in around]
        elsewhere = itertools.islice(self._elsewhere(task, machine, protocol, DEFAULT_ALLOW), MOST_STARTS)
        heard += [found.record for found in elsewhere]
        schedules = [record.schedule for record in heard if record is not None][:MOST_STARTS]
        return tuple(dict.fromkeys((*self.project_schedules(task), *schedules)))

    def project_schedules(self, task: Task) -> tuple[Schedule, ...]:
        """What the project's files say of a task, whatever they claim of it."""
        folder = project_folder(self.project)
        if folder is None:
            return ()
        from .files import SpecFiles

        return SpecFiles.of(PROJECT, folder).schedules(task)

    def share(self, record: Record) -> None:
        """Gives what was measured here to the layers around the store, which has it."""
        for layer in self.all():
            if layer.name != USER:
                layer.put(record)

    def _is_refuted(self, heard: Record) -> bool:
        """True for what failed here, or was put aside here: whatever others claim of it."""
        known = self.store.get(heard.task, heard.schedule, heard.machine, heard.protocol)
        return known is not None and (known.failure is not None or known.quarantine is not None)

    def _keep(self, heard: Record) -> None:
        """Puts into the store what a server said, so that it need not be asked again; it goes on without, too."""
        try:
            self.store.put(heard)
        except StoreError as error:
            logger.warning("what the server knew is not kept: %s", error)

    def _elsewhere(
        self, task: Task, machine: Machine, protocol: Protocol, allow: Collection[str], loosest: str = "portable"
    ) -> Iterator[Found]:
        """What is known of other machines, the nearest first; layers in order where machines are as near."""
        layers = list(self.all())
        known = {layer.name: set(layer.machines(task, protocol)) for layer in layers}
        for label, other in nearest_first(machine, set().union(*known.values()), loosest):
            for layer in layers:
                record = layer.best(task, other, protocol, allow) if other in known[layer.name] else None
                if record is not None:
                    yield Found(record=record, layer=layer.name, match=label)


SHIPPED_FOLDER: Final = Path(__file__).with_name("shipped")
"""Spec files that come with autosched."""


def is_timed_here(record: Record) -> bool:
    """True where some time of the record was measured on the machine it speaks of by this store's owner."""
    return any(measurement.origin == MEASURED for measurement in record.measurements)


def project_folder(project: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder of the project's spec files; None where there is no project. StoreError where a named one is absent.

    `project`, else AUTOSCHED_PROJECT, else ``autosched-specs`` in the working folder or a folder above it, not above
    the one with ``.git``.
    """
    named = os.environ.get("AUTOSCHED_PROJECT") if project is None else os.fspath(project)
    if named is not None:
        if not named:
            return None
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise StoreError(f"project {named!r}: no such folder; make it, or mend --project or AUTOSCHED_PROJECT")
        return folder.absolute()
    try:
        here = os.getcwd()  # noqa: PTH109 # text is twice as fast to walk up, and every search comes by here
    except OSError:  # the working folder is gone
        return None
    while True:
        if os.path.isdir(os.path.join(here, MARKER)):  # noqa: PTH112, PTH118 # as above
            return Path(here, MARKER)
        above = os.path.dirname(here)  # noqa: PTH120 # as above
        if above == here or os.path.exists(os.path.join(here, ".git")):  # noqa: PTH110, PTH118 # as above
            return None
        here = above
