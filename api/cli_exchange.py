"""``autosched export``, ``import``, ``merge`` and ``rebuild``: between stores and files, by mail or in git."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from .cli import BAD_INPUT
from .cli_report import counted
from .cli_request import store_option
from .spec.errors import escaped
from .spec.json_text import write_json

METASCHEDULE: Final = "metaschedule"
FLEXTENSOR: Final = "flextensor"

if TYPE_CHECKING:
    from .other_formats import Converted
    from .store.importing import Imported
    from .store.store import Store


@click.command()
@click.argument("ops", metavar="[OP...]", nargs=-1)
@click.option("-o", "--output", required=True, metavar="FILE|DIR", help="A file, or a folder.")
@click.option("--all", "everything", is_flag=True, help="All that is known, failures and searches too: see rebuild.")
@click.option("--format", "form", type=click.Choice(["spec", METASCHEDULE]), default="spec", help="Whose files.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(ops: tuple[str, ...], *, output: str, everything: bool, form: str, store: Store, as_json: bool) -> int:
    """Write the best schedules of all tasks, or of those of some operators, to spec files or a bundle.

    A name that ends in .json or .jsonl is a file: a spec file of one schedule, or a bundle of several (.jsonl always).
    Any other is a folder, with a file for each task and machine. With --format metaschedule it is a folder with a
    database of TVM's MetaSchedule, which takes schedules that rewrite nothing; others are listed, a line each.

    \b
    autosched export conv2d -o specs/
    autosched export --all -o backup.jsonl
    autosched export --format metaschedule -o work/
    """  # noqa: D301 # click's mark for lines to keep is the character itself
    if form == METASCHEDULE:
        from .other_formats import export_metaschedule

        if everything:
            raise click.UsageError("--all is for spec files; a database of MetaSchedule has the best of each task")
        return _report_other(export_metaschedule(output, store, ops=ops), output, as_json)
    from .sharing import export_specs

    done = export_specs(output, store, ops=ops, everything=everything)
    if as_json:
        click.echo(write_json({"path": output, **attrs.asdict(done)}), nl=False)
        return 0
    files, records, tasks = counted(done.files, "file"), counted(done.records, "schedule"), counted(done.tasks, "task")
    click.echo(f"{escaped(output)}: {files}, {records} of {tasks}")
    return 0


@click.command("import")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(["spec", FLEXTENSOR]), default="spec", help="Whose files.")
@click.option("-o", "--output", metavar="DIR", help="With --format flextensor: where the spec files go.")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(paths: tuple[str, ...], *, form: str, output: str | None, store: Store, as_json: bool) -> int:
    """Put what spec files and bundles say into the store, as claims; folders are searched for such files.

    A claim is served only where nothing was timed here. Bad files are listed, a line each, and all others are taken.
    Exit status 2 where any was bad. Logs of FlexTensor have no times, so they go to spec files instead, each to be
    tried by tune --spec: import --format flextensor LOG -o DIR
    """
    if (form == FLEXTENSOR) != (output is not None):
        raise click.UsageError("--format flextensor needs -o DIR, where spec files go, and the other way round")
    if output is not None:
        from .other_formats import import_flextensor

        return _report_other(import_flextensor(paths, output), output, as_json)
    from .sharing import import_specs

    return _report(import_specs(*paths, store=store), store, as_json, "imported")


@click.command()
@click.argument("paths", metavar="FILE FILE...", nargs=-1, required=True)
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write; may be one of the files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def merge(paths: tuple[str, ...], *, output: str, as_json: bool) -> None:
    """Write what spec files and bundles say together: the same schedule of a task once, with the claims of all.

    A spec file, where all are spec files of one schedule, else a bundle. Nothing is written where a file is bad.
    """
    from .sharing import merge_specs

    done = merge_specs(*paths, output=output)
    if as_json:
        click.echo(write_json({"path": output, **attrs.asdict(done)}), nl=False)
        return
    form = "a bundle" if done.is_bundle else "a spec file"
    schedules, tasks = counted(done.schedules, "schedule"), counted(done.tasks, "task")
    click.echo(f"{escaped(output)}: {form}, {schedules} of {tasks}")


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


def _report_other(done: Converted, output: str, as_json: bool) -> int:
    """Prints how many schedules were written, and each refusal on standard error; the exit status, 2 where none was."""
    if as_json:
        click.echo(write_json({"path": output, "schedules": done.schedules, "refused": list(done.refused)}), nl=False)
    else:
        click.echo(f"{escaped(output)}: {counted(done.schedules, 'schedule')}, {len(done.refused)} refused")
    for line in done.refused:
        click.echo(escaped(" ".join(line.split())), err=True)
    return 0 if done.schedules else BAD_INPUT


def _report(done: Imported, store: Store, as_json: bool, verb: str) -> int:
    """Prints what came in, and each refusal on standard error; the exit status."""
    if as_json:
        content: dict[str, Any] = attrs.asdict(done)
        click.echo(write_json({**content, "refused": list(content["refused"])}), nl=False)
    else:
        left = f"; {done.left_out} without a claim left out" if done.left_out else ""
        files, records = counted(done.files, "file"), counted(done.records, "record")
        click.echo(f"{verb}: {records} from {files} into {store.path}{left}")
    for refused in done.refused:
        click.echo(escaped(" ".join(refused.text.split())), err=True)
    return BAD_INPUT if done.refused else 0
