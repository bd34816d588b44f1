"""Our own search on a work, by the command that users have, and schedules that stand in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ..spec.spec_file import SpecFile, save_spec
from ..ways import default_schedule
from .commands import run_command
from .works import Work

if TYPE_CHECKING:
    from .suite import Ground


@attrs.frozen(kw_only=True)
class Tuned:
    """What ``autosched tune`` found for a work, from the user's side of the command line."""

    work: Work
    spec: Path
    source: str
    trials: int
    wall_s: float

    @property
    def is_searched(self) -> bool:
        """True where there was a search just now, whose time means something."""
        return self.trials > 0 and self.source != "store"


def tune(ground: Ground, work: Work, seconds: float | None = None) -> Tuned:
    """Searches with the command that users have, in the suite's store; for as long as it takes without `seconds`."""
    options = ground.options
    ground.say(f"{work.name}: autosched tune, up to {options.trials} trials")
    spec = ground.folder / f"{work.file_name}.json"
    budget = ["--trials", str(options.trials), "--threads", str(options.threads)]
    if seconds is not None:
        budget += ["--seconds", str(seconds)]
    ran = run_command(("tune", *work.words, *budget, "--store", ground.store, "-o", str(spec), "--json", "--quiet"))
    found = ran.json()
    if found["source"] == "store":
        ground.note(f"{work.name}: the store knew it already, nothing was searched; its search rows are left out")
    return Tuned(work=work, spec=spec, source=found["source"], trials=found["trials"], wall_s=ran.wall_s)


def untuned(ground: Ground, work: Work) -> Tuned:
    """The default schedule in the place of one that was searched for."""
    spec = default_spec(ground, work, work.file_name)
    return Tuned(work=work, spec=spec, source="default", trials=0, wall_s=0.0)


def default_spec(ground: Ground, work: Work, name: str) -> Path:
    """The spec file ``NAME.json`` of what the analytic model chooses; nothing is measured."""
    task = work.task(ground.options.threads)
    path = ground.folder / f"{name}.json"
    save_spec(SpecFile(task=task, schedule=default_schedule(task)), path)
    return path
