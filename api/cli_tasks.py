"""``autosched tasks``: the operators that tune and lookup know, and the tasks that have names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .nn.registry import get_operator, operators
from .nn.suites import all_tasks, operator_of, suites, tasks_of
from .spec.json_text import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .nn.registry import Operator
    from .nn.suites import NamedTask


@click.command()
@click.option("--op", metavar="OP", help="Only this operator, and tasks of it.")
@click.option("--suite", metavar="SUITE", help="The tasks of this suite, as yolo or flextensor110/C2D.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; without --suite it has all tasks.")
def tasks(op: str | None, suite: str | None, as_json: bool) -> None:
    """List the operators with their arguments and the suites, or the tasks of a suite, each under its name.

    \b
    autosched tasks --op conv2d
    autosched tasks --suite flextensor110
    autosched tune yolo/yolo3
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    known = [get_operator(name) for name in ((op,) if op is not None else operators())]
    if as_json:
        found = all_tasks() if suite is None else tasks_of(suite)
        click.echo(write_json(_json(known, [task for task in found if op in (None, task.op)])), nl=False)
    elif suite is not None:
        for task in tasks_of(suite):
            if op in (None, task.op):
                click.echo("  ".join(filter(None, (task.full_name, " ".join(task.words), task.layer))))
    else:
        _list_all(known, op)


def _list_all(known: Sequence[Operator], op: str | None) -> None:
    for operator in known:
        click.echo(f"{operator.name}  {operator.signature}\n    {operator.summary}")
    click.echo("\nsuites (--suite lists their tasks):")
    for name in suites():
        if op in (None, operator_of(name)):
            click.echo(f"{name}  {len(tasks_of(name))} tasks of {operator_of(name) or 'twelve groups'}")


def _json(known: Sequence[Operator], found: Sequence[NamedTask]) -> dict[str, Any]:
    """What ``--json`` prints. An argument without a default has none there."""
    return {
        "operators": [
            {
                "name": operator.name,
                "summary": operator.summary,
                "arguments": [
                    {"name": p.name, **({} if p.default is None else {"default": p.default})}
                    for p in operator.parameters
                ],
            }
            for operator in known
        ],
        "tasks": [
            {"name": task.full_name, "op": task.op, "args": dict(task.args), "layer": task.layer} for task in found
        ],
    }
