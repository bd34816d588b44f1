"""``autosched why``: which layers a lookup asks, what is near, and what would make a miss a hit."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from .cli_lookup import drift_option, match_option
from .cli_report import duration
from .cli_request import layers_options, read_request, request_options
from .spec.convert import unstructure
from .spec.errors import escaped
from .spec.json_text import write_json
from .store.keys import differences, key_from_task, task_key
from .store.layers import LAYERS, MARKER, PROJECT, SERVER, Layers, is_timed_here
from .store.machine import this_machine
from .store.match import EXACT
from .store.store import DEFAULT_ALLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cli_request import Request
    from .spec.claim import Machine
    from .spec.task import Task
    from .store.near import Near
    from .store.store import Store
    from .store.why import Tried, Why


@click.command()
@request_options
@layers_options
@match_option
@drift_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def why(
    *,
    what: tuple[str, ...],
    spec_path: str | None,
    target: str | None,
    constants: tuple[str, ...],
    threads: int | None,
    store: Store,
    project: str | None,
    server: str | None,
    match: str,
    drift: str,
    as_json: bool,
) -> None:
    """Say why a lookup hits or misses: the layers asked, the nearest entries, and what would make it a hit.

    \b
    autosched why gemm N=1024 K=1024 M=1024
    autosched why --spec received.json
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    from .store.why import explained

    request = read_request(what, spec_path, target, threads, constants)
    layers = Layers(store=store, project=project, server=server)
    said = explained(layers, request.task, this_machine(), DEFAULT_ALLOW, match=match, drift=drift)
    hint = "" if said.found is not None and is_timed_here(said.found.record) else _command(request, target, threads)
    click.echo(_json(request, said, hint) if as_json else "\n".join(_lines(request, said, hint)), nl=not as_json)


def _lines(request: Request, said: Why, hint: str) -> Iterator[str]:
    task, found = request.task, said.found
    threads = f"{task.threads} thread{'s' * (task.threads != 1)}"
    answer = "miss" if found is None else f"hit in the {found.layer} layer, match {found.match}"
    yield f"{answer}: {escaped(request.text)} on {task.target.kind}, {threads}; key {task_key(task)[:16]}"
    by_name = {tried.layer: tried for tried in said.tried}
    for name in LAYERS:
        yield f"  {name:8} {escaped(_layer_text(name, by_name.get(name)))}"
    for reason, count in said.unusable:
        yield f"  {count} record{'s' * (count != 1)} of this task on this machine cannot answer: {reason}"
    for drift in said.drift:
        yield f"  drifted: {drift.field} was {drift.then}, is {drift.now}"
    if said.near:
        yield "near:"
    for each in said.near:
        yield f"  {each.layer}: {escaped(_entry_text(task, each.near))}"
        yield from (f"    {line}" for line in _difference_lines(task, each.near))
        if option := _option(each.near):
            yield f"    a hit with {option}"
    if hint:
        yield f"to have it timed here: {escaped(hint)}"


def _layer_text(name: str, tried: Tried | None) -> str:
    """What a layer says: where it is, what it holds, and of the task what."""
    if tried is None:
        absent = {
            PROJECT: f": no --project, AUTOSCHED_PROJECT or folder {MARKER}",
            SERVER: ": no --server or AUTOSCHED_SERVER",
        }
        return f"none{absent.get(name, '')}"
    if tried.record is not None:
        latency_s = tried.record.latency_s
        known = f"{tried.record.origin}, {duration(latency_s)}" if latency_s is not None else tried.record.origin
    elif tried.elsewhere:
        known = f"only on other machines: {', '.join(dict.fromkeys(label for label, _ in tried.elsewhere))}"
    else:
        known = "not this task"
    return f"{tried.place}, {tried.status}: {known}"


def _entry_text(task: Task, near: Near) -> str:
    """What a near entry is about."""
    same = task_key(near.task) == task_key(task)
    name = "this task" if same else near.task.op.text if near.task.op else f"task {task_key(near.task)[:16]}"
    where = "this machine" if near.match == EXACT else f"{_machine_text(near.machine)}, match {near.match}"
    return f"{name} on {where}"


def _machine_text(machine: Machine) -> str:
    return f"{machine.vendor} family {machine.family} model {machine.model}, {machine.cores} cores"


def _difference_lines(task: Task, near: Near) -> Iterator[str]:
    """The fields of the key that differ, ours first; of machines and operators the facts that do."""
    for difference in near.differences:
        if difference.field == "machine":
            facts = differences(this_machine(), near.machine)
            yield from (f"machine.{fact.field}: {fact.ours} here, {fact.theirs} there" for fact in facts)
        elif difference.field == "workload":
            yield f"workload: {escaped(_workload_text(task, near.task))}"
        else:
            yield f"{difference.field}: {escaped(difference.ours)} here, {escaped(difference.theirs)} there"


def _workload_text(ours: Task, theirs: Task) -> str:
    """How two computations differ, as far as their operators say."""
    if ours.op is None or theirs.op is None or ours.op.name != theirs.op.name:
        return "another computation"
    wanted = {argument.name: argument.text for argument in ours.op.args}
    given = [argument.text for argument in theirs.op.args if wanted.get(argument.name) != argument.text]
    return f"the same operator with {' '.join(given)}" if given else "another computation"


def _option(near: Near) -> str:
    """The option with which a lookup finds a near entry; empty where one alone does not do."""
    fields = [difference.field for difference in near.differences]
    if fields == ["machine"]:
        return f"--match {near.match}"
    return f"--threads {near.task.threads}" if fields == ["threads"] else ""


def _command(request: Request, target: str | None, threads: int | None) -> str:
    """The command that searches for what was asked."""
    words = [
        "autosched",
        "tune",
        *((request.name or "", *request.words) if request.path is None else ("--spec", request.path)),
    ]
    words += [f"--constant={name}" for name in request.task.constants if request.path is None]
    words += [f"--target={target}"] * (target is not None) + [f"--threads={threads}"] * (threads is not None)
    return shlex.join(words)


def _json(request: Request, said: Why, hint: str) -> str:
    task, found = request.task, said.found
    content: dict[str, Any] = {
        "op": request.name,
        "args": request.args,
        "target": unstructure(task.target),
        "threads": task.threads,
        "key": task_key(task),
        "fields": unstructure(key_from_task(task, this_machine())),
        "hit": found is not None,
        "layer": None if found is None else found.layer,
        "match": None if found is None else found.match,
        "layers": [_layer_json(tried) for tried in said.tried],
        "unusable": dict(said.unusable),
        "drifted": [unstructure(drift) for drift in said.drift],
        "near": [_near_json(each.layer, each.near) for each in said.near],
        "hint": hint or None,
    }
    return write_json(content)


def _layer_json(tried: Tried) -> dict[str, Any]:
    record = tried.record
    return {
        "layer": tried.layer,
        "place": tried.place,
        "status": tried.status,
        "origin": None if record is None else record.origin,
        "latency_s": None if record is None else record.latency_s,
        "elsewhere": [{"match": label, "machine": unstructure(machine)} for label, machine in tried.elsewhere],
    }


def _near_json(layer: str, near: Near) -> dict[str, Any]:
    op = near.task.op
    return {
        "layer": layer,
        "op": None if op is None else op.name,
        "args": {} if op is None else unstructure(op).get("args", {}),  # type: ignore[union-attr] # of a call, an object
        "key": task_key(near.task),
        "threads": near.task.threads,
        "machine": unstructure(near.machine),
        "match": near.match,
        "differences": [unstructure(difference) for difference in near.differences],
        "hit_with": _option(near) or None,
    }
