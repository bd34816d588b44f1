"""What tune and lookup print: one JSON object for programs, a few lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .spec.convert import unstructure
from .spec.json_text import write_json
from .store.keys import task_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .cli_progress import Notes
    from .cli_request import Request
    from .result import Result
    from .spec.json_text import Json
    from .store.records import SearchState


def result_json(
    request: Request,
    result: Result,
    *,
    state: SearchState | None,
    failures: Mapping[str, int],
    wall_s: float,
    notes: Notes,
) -> str:
    """The object that ``--json`` prints. Times are in seconds; absent values are null.

    `drift`: how many times as long the default took than before, each time that the machine changed under this search;
    `busy_s` of its `wall_s` were spent building and running.
    """
    task, interval = result.task, result.speedup_interval
    content: dict[str, Any] = {
        "op": request.name,
        "args": request.args,
        "target": unstructure(task.target),
        "threads": task.threads,
        "key": task_key(task),
        "source": result.source,
        "origin": result.origin,
        "latency_s": result.latency_s,
        "gflops": result.gflops,
        "default_latency_s": result.default_latency_s,
        "speedup": result.speedup,
        "speedup_interval": None if interval is None else attrs.asdict(interval),
        "samples_s": result.samples,
        "trials": state.trials if state is not None else 0,
        "failures": dict(failures),
        "drift": notes.drift,
        "busy_s": notes.busy_s,
        "search_s": state.seconds if state is not None else None,
        "wall_s": wall_s,
        "spec": unstructure(result.schedule),
    }
    return write_json(_plain(content))


def result_text(request: Request, result: Result, state: SearchState | None) -> str:
    """Two lines for people."""
    task = result.task
    found = [duration(result.latency_s)]
    if result.gflops is not None:
        found.append(f"{result.gflops:.1f} GFLOP/s")
    if result.speedup is not None and result.default_latency_s is not None:
        found.append(f"{result.speedup:.2f} times the default ({duration(result.default_latency_s)}){_sure(result)}")
    found.append(_source(result, state))
    return (
        f"{request.text} on {task.target.kind}, {task.threads} thread{'s' * (task.threads != 1)}\n  {', '.join(found)}"
    )


def _sure(result: Result) -> str:
    """Between which speedups the true one is; empty where that is not known."""
    interval = result.speedup_interval
    if interval is None or result.source == "default":
        return ""
    return f", {interval.low:.2f} to {interval.high:.2f} with {interval.confidence:.0%} confidence"


def _source(result: Result, state: SearchState | None) -> str:
    trials = f" after {state.trials} trials in {state.seconds:.0f} s" if state is not None else ""
    if result.source == "default":
        return f"nothing beats the default{trials}"
    return f"from the {result.source}{trials}, {result.origin}"


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
