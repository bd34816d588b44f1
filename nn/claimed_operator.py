"""Whether a task is what its operator's name says: in a stranger's file ``op`` and ``args`` are words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..spec.errors import SpecError
from .registry import TAKEN, get_task, is_operator

if TYPE_CHECKING:
    from ..spec.task import Task


def contradiction(task: Task) -> str | None:
    """In what a task's operator call contradicts its workload; None where it does not, or nobody here knows the name.

    Workloads are compared by identity, so the names of buffers and axes do not count.
    """
    call = task.op
    if call is None or not is_operator(call.name):
        return None
    arguments: dict[str, Any] = {argument.name: argument.value for argument in call.args}
    if taken := sorted(arguments.keys() & {*TAKEN}):
        return f"{call.name} takes no argument {taken[0]!r}"
    try:
        named = get_task(call.name, threads=task.threads, **arguments)
    except SpecError as error:
        return f"no such {call.name}: {error}"
    return None if named.identity == task.identity else f"{call.text} is another computation than its workload"
