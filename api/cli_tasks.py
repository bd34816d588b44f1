"""``autosched tasks``: the operators that tune and lookup know, and their arguments."""

from __future__ import annotations

import click

from .nn.registry import get_operator, operators


@click.command()
@click.option("--op", metavar="OP", help="Only this one.")
def tasks(op: str | None) -> None:
    """List the operators: name, arguments with their defaults, and what each computes."""
    for name in (op,) if op is not None else operators():
        operator = get_operator(name)
        click.echo(f"{operator.name}  {operator.signature}\n    {operator.summary}")
