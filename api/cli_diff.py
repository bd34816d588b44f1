"""``autosched diff``: what two spec files say differently, in words. Names do not count, nor who measured what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from .cli_request import read_spec
from .spec.diff import YES, Change, compare_specs
from .spec.errors import escaped
from .spec.json_text import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spec.diff import Comparison

DIFFERENT: Final = 1
"""The exit status where two files differ, as that of diff."""


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(before: str, after: str, *, as_json: bool) -> int:
    """Compare two spec files by meaning: the task, then staging by staging and nest by nest.

    Exit status 0 where both ask for the same and compute it in the same way, 1 where they do not, 2 for a bad file.
    """
    comparison = compare_specs(read_spec(before), read_spec(after))
    if as_json:
        click.echo(_json(comparison), nl=False)
    else:
        for line in _lines(comparison, escaped(before), escaped(after)):
            click.echo(line)
    return 0 if comparison.is_same else DIFFERENT


def _lines(comparison: Comparison, before: str, after: str) -> Iterator[str]:
    for subject, changes in (("task", comparison.task), ("schedule", comparison.schedule)):
        count = f"{len(changes)} difference{'s' * (len(changes) != 1)}"
        yield f"{subject}: {count if changes else 'the same'}"
        yield from (f"  {_change_text(change, before, after)}" for change in changes)


def _change_text(change: Change, before: str, after: str) -> str:
    if change.before is not None and change.after is not None:
        return f"{change.place}: {change.before} -> {change.after}"
    said, path = (change.before, before) if change.after is None else (change.after, after)
    return f"{change.place}: only in {path}" + ("" if said == YES else f": {said}")


def _json(comparison: Comparison) -> str:
    content: dict[str, Any] = {
        subject: {"same": not changes, "changes": [attrs.asdict(change) for change in changes]}
        for subject, changes in (("task", comparison.task), ("schedule", comparison.schedule))
    }
    return write_json({"same": comparison.is_same, **content})
