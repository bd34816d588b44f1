"""``autosched export``, ``import`` and ``rebuild``: between a store and files that go by mail or lie in git."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click

from .cli import BAD_INPUT
from .cli_report import counted
from .cli_request import store_option
from .spec.errors import escaped
from .spec.json_text import write_json

if TYPE_CHECKING:
    from .store.importing import Imported
    from .store.store import Store


@click.command()
@click.argument("ops", metavar="[OP...]", nargs=-1)
@click.option("-o", "--output", required=True, metavar="FILE|DIR", help="A file, or a folder.")
@click.option("--all", "everything", is_flag=True, help="All that is known, failures and searches too: see rebuild.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(ops: tuple[str, ...], *, output: str, everything: bool, store: Store, as_json: bool) -> None:
    """Write the best schedules of all tasks, or of those of some operators, to spec files or a bundle.

    A name that ends in .json or .jsonl is a file: a spec file of one schedule, or a bundle of several (.jsonl always).
    Any other is a folder, with a file for each task and machine.

    \b
    autosched export conv2d -o specs/
    autosched export --all -o backup.jsonl
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    from .sharing import export_specs

    done = export_specs(output, store, ops=ops, everything=everything)
    if as_json:
        click.echo(write_json({"path": output, **attrs.asdict(done)}), nl=False)
        return
    files, records, tasks = counted(done.files, "file"), counted(done.records, "schedule"), counted(done.tasks, "task")
    click.echo(f"{escaped(output)}: {files}, {records} of {tasks}")


@click.command("import")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(paths: tuple[str, ...], *, store: Store, as_json: bool) -> int:
    """Put what spec files and bundles say into the store, as claims; folders are searched for such files.

    A claim is served only where nothing was timed here. Bad files are listed, a line each, and all others are taken.
    Exit status 2 where any was bad.
    """
    from .sharing import import_specs

    return _report(import_specs(*paths, store=store), store, as_json, "imported")


@click.command()
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True)
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rebuild(paths: tuple[str, ...], *, store: Store, as_json: bool) -> int:
    """Put back into a store what autosched export --all wrote of it: only for files of your own.

    What they say was measured here is believed; searches count as done, failures as seen. Exit status as of import.
    """
    from .sharing import rebuild as put_back

    return _report(put_back(*paths, store=store), store, as_json, "put back")


def _report(done: Imported, store: Store, as_json: bool, verb: str) -> int:
    """Prints what came in, and each refusal on standard error; the exit status."""
    if as_json:
        content: dict[str, Any] = attrs.asdict(done)
        click.echo(write_json({**content, "refused": list(content["refused"])}), nl=False)
    else:
        left = f"; {done.left_out} without a claim left out" if done.left_out else ""
        files, records = counted(done.files, "file"), counted(done.records, "schedule")
        click.echo(f"{verb}: {records} from {files} into {store.path}{left}")
    for refused in done.refused:
        click.echo(escaped(" ".join(refused.text.split())), err=True)
    return BAD_INPUT if done.refused else 0
