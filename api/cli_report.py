"""What tune and lookup print: one JSON object for programs, a few lines for people."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from .question import search_failures
from .spec.convert import unstructure
from .spec.errors import escaped
from .spec.json_text import write_json
from .store.keys import task_key
from .store.layers import USER
from .store.match import EXACT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cli_progress import Notes
    from .cli_request import Request
    from .result import Answer, Result
    from .spec.claim import Failure, Machine
    from .spec.json_text import Json
    from .store.records import SearchState
    from .store.store import Store

REASON: Final = 90
"""Characters of a failure's reason that the table has room for."""


def report(
    request: Request,
    result: Answer,
    store: Store,
    as_json: bool,
    begin: float,
    *,
    notes: Notes | None = None,
    machine: Machine | None = None,
) -> None:
    """Prints a result for programs or for people.

    `notes` are those of a search, where there was one; the machine is this one where none is given.
    """
    state = store.search_state(request.task, machine)
    if as_json:
        failures = search_failures(request.task, store, machine)
        wall_s = time.perf_counter() - begin
        click.echo(
            result_json(request, result, state=state, failures=failures, wall_s=wall_s, notes=notes),
            nl=False,
        )
    else:
        click.echo(result_text(request, result, state))


def result_json(
    request: Request,
    result: Answer,
    *,
    state: SearchState | None,
    failures: Sequence[Failure],
    wall_s: float,
    notes: Notes | None,
) -> str:
    """The object that ``--json`` prints. Times are in seconds; absent values are null.

    `layer`: where a stored schedule stood; `match`: how near the machine is that it was measured on; `drifted`: what is
    another one today than when it was last timed.

    `drift`: how many times as long the default took than before, each time that the machine changed under this search;
    `busy_s` of its `wall_s` were spent building and running. `exhausted`: the whole space was tried; `settled`: some
    search ended because nothing improved any more. `seed` is that of the search that found the schedule.
    """
    task, interval = result.task, result.speedup_interval
    effort = result.record.last.effort if result.record.last is not None else None
    content: dict[str, Any] = {
        "op": request.name,
        "args": request.args,
        "target": unstructure(task.target),
        "threads": task.threads,
        "key": task_key(task),
        "source": result.source,
        "origin": result.origin,
        "layer": result.layer,
        "match": result.match,
        "drifted": [attrs.asdict(drift) for drift in result.drifted],
        "latency_s": result.latency_s,
        "gflops": result.gflops,
        "default_latency_s": result.default_latency_s,
        "speedup": result.speedup,
        "speedup_interval": None if interval is None else attrs.asdict(interval),
        "samples_s": result.samples,
        "trials": state.trials if state is not None else 0,
        "method": state.strategy if state is not None else None,
        "seed": effort.seed if effort is not None else None,
        "exhausted": state is not None and state.exhausted,
        "settled": state is not None and state.settled > 0,
        "failures": _counts(failures),
        "drift": [] if notes is None else notes.drift,
        "busy_s": None if notes is None else notes.busy_s,
        "search_s": state.seconds if state is not None else None,
        "wall_s": wall_s,
        "spec": unstructure(result.schedule),
    }
    return write_json(_plain(content))


def result_text(request: Request, result: Answer, state: SearchState | None) -> str:
    """Two lines for people."""
    task = result.task
    found = [] if result.latency_s is None else [duration(result.latency_s)]
    if result.gflops is not None:
        found.append(f"{result.gflops:.1f} GFLOP/s")
    if result.speedup is not None and result.default_latency_s is not None:
        found.append(f"{result.speedup:.2f} times the default ({duration(result.default_latency_s)}){_sure(result)}")
    found.append(_source(result, state))
    if result.drifted:
        found.append(f"taken with other tools: {', '.join(f'{d.field} {d.then}, now {d.now}' for d in result.drifted)}")
    return (
        f"{request.text} on {task.target.kind}, {task.threads} thread{'s' * (task.threads != 1)}\n  {', '.join(found)}"
    )


def _sure(result: Answer) -> str:
    """Between which speedups the true one is; empty where that is not known."""
    interval = result.speedup_interval
    if interval is None or result.source == "default":
        return ""
    return f", {interval.low:.2f} to {interval.high:.2f} with {interval.confidence:.0%} confidence"


def missed_text(request: Request, store: Store, match: str) -> str:
    """The line of a miss."""
    where = "on this machine" if match == EXACT else f"on machines down to {match!r}"
    return (
        f"miss: nothing known of task {task_key(request.task)[:12]} {where} in {store.path}; "
        "autosched why says what is near, autosched tune searches"
    )


def failures_text(failures: Sequence[Failure], state: SearchState | None) -> str:
    """A table of failures by class, each with the reason of one of them, after a line that counts them."""
    of = f" of {state.trials}" if state is not None else ""
    lines = [f"{len(failures)}{of} trials failed:"]
    for kind, count in _counts(failures).items():
        reason = next(" ".join(failure.detail.split()) for failure in failures if failure.kind == kind)
        lines.append(f"  {kind:13}  {count:4}  {escaped(reason[:REASON])}".rstrip())
    return "\n".join(lines)


def so_far_text(result: Result | None, state: SearchState | None) -> str:
    """What an interrupted search leaves in the store."""
    if result is None or state is None:
        return "nothing has a time yet"
    best = f"the best so far, {duration(result.latency_s)} after {state.trials} trials, is in the store"
    return f"{best}; the same command goes on from there"


def _counts(failures: Sequence[Failure]) -> dict[str, int]:
    return dict(sorted(Counter(failure.kind for failure in failures).items()))


def _source(result: Answer, state: SearchState | None) -> str:
    trials = f" after {state.trials} trials in {state.seconds:.0f} s" if state is not None else ""
    if result.latency_s is None:
        return "the model's schedule, which nobody has timed"
    if result.source == "default":
        return f"nothing beats the default{trials}"
    of = "" if result.match == EXACT else f" on another machine (match: {result.match})"
    where = result.source if result.layer == USER else f"{result.layer} layer"
    return f"from the {where}{trials}, {result.origin}{of}"


def duration(seconds: float) -> str:
    """A time with three digits and its unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _plain(value: Any) -> Json:
    """Tuples as lists, which is all that JSON lacks here."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    plain: Json = value
    return plain


def counted(number: int, word: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {word}{'s' * (number != 1)}"
