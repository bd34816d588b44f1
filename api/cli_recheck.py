"""``autosched recheck`` and ``verify``: whether what a store holds is as fast, and as right, as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .cli_report import duration
from .cli_request import store_option
from .spec.errors import SpecError, escaped
from .spec.json_text import write_json
from .spec.rename import schedule_digest
from .store.keys import task_key

if TYPE_CHECKING:
    from .search.recheck import Rechecked
    from .search.verify_claims import Compared
    from .spec.task import Task
    from .store.store import Store


@click.command()
@click.argument("ops", metavar="[OP...]", nargs=-1)
@click.option(
    "--tolerance", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True,
    metavar="X", help="By how large a part it may be slower.",
)  # fmt: skip
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def recheck(ops: tuple[str, ...], *, tolerance: float, store: Store, as_json: bool) -> None:
    """Time what the store serves here in turn with the default schedule, and the best claims too.

    What got slower than something else that is known goes into quarantine: it is kept and not served, until a later
    recheck or search finds it faster than the default again. Claims that are timed are "measured here" from then on.
    """
    from .rechecking import rechecks

    found = []
    for each in rechecks(store, ops, tolerance, _refused):
        found.append(each)
        if not as_json:
            click.echo(_text(each))
    if as_json:
        quarantined = sum(each.verdict == "quarantined" for each in found)
        click.echo(write_json({"rechecked": [_json(each) for each in found], "quarantined": quarantined}), nl=False)
    elif not found:
        click.echo(f"nothing to recheck in {store.path}", err=True)


@click.command()
@click.argument("ops", metavar="[OP...]", nargs=-1)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(ops: tuple[str, ...], *, store: Store, as_json: bool) -> int:
    """Compare what others claim with the reference here, without timing: what is right is "verified" then.

    Exit status 1 where some claim is wrong, or does not run here.
    """
    from .cli import FAILED
    from .rechecking import verified

    found = []
    for each in verified(store, ops, _refused):
        found.append(each)
        if not as_json:
            wrong = each.failure
            said = "verified" if wrong is None else f"{wrong.kind}: {' '.join(wrong.detail.split())}"
            click.echo(f"{_name(each.record.task)}: {escaped(said)}")
    if as_json:
        click.echo(write_json({"compared": [_compared_json(each) for each in found]}), nl=False)
    elif not found:
        click.echo(f"no claim to verify in {store.path}", err=True)
    return FAILED if any(each.failure is not None for each in found) else 0


def _refused(task: Task, error: SpecError) -> None:
    click.echo(f"left out: {_name(task)}: {escaped(' '.join(str(error).split()))}", err=True)


def _name(task: Task) -> str:
    return escaped(task.op.text if task.op is not None else f"task {task_key(task)[:12]}")


def _text(each: Rechecked) -> str:
    parts = [f"{_name(each.task)}: {each.verdict}"]
    if each.latency_s is not None:
        parts.append(duration(each.latency_s) + (f", was {duration(each.before_s)}" if each.before_s else ""))
    if each.speedup is not None:
        was = f", was {each.before_speedup:.2f}" if each.before_speedup else ""
        parts.append(f"{each.speedup:.2f} times the default{was}")
    if each.reason:
        parts.append(escaped(each.reason))
    return "; ".join(parts)


def _json(each: Rechecked) -> Any:
    """Times in seconds, speeds in times the default's; null where unknown."""
    return {
        **_about(each.task),
        "schedule": schedule_digest(each.schedule, each.task.names),
        "verdict": each.verdict,
        "latency_s": each.latency_s,
        "before_s": each.before_s,
        "speedup": each.speedup,
        "before_speedup": each.before_speedup,
        "drift": each.drift,
        "reason": each.reason or None,
    }


def _compared_json(each: Compared) -> Any:
    failure = each.failure
    return {
        **_about(each.record.task),
        "schedule": schedule_digest(each.record.schedule, each.record.task.names),
        "verified": failure is None,
        "failure": None if failure is None else {"kind": failure.kind, "detail": failure.detail},
    }


def _about(task: Task) -> dict[str, Any]:
    return {"op": None if task.op is None else task.op.text, "key": task_key(task)}
