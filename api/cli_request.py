"""What a command is asked about: an operator with arguments, a named task, a spec file, or a user's function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from .cli_function import FUNCTION, task_from_function
from .spec.check_task import check_constants
from .spec.claim import ACCURACY_CLASSES
from .spec.errors import SpecError, escaped
from .spec.schedule import Schedule
from .spec.task import Target, Task, target_from_value
from .store.layers import project_folder
from .store.link import read_url
from .store.store import DEFAULT_ALLOW, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from .spec.spec_file import SpecFile


Command = TypeVar("Command", bound="Callable[..., Any]")


@attrs.frozen(kw_only=True)
class Request:
    """A task, how the user named it, and the schedule that came with it, from the file at `path`."""

    task: Task
    name: str | None
    words: tuple[str, ...]
    schedule: Schedule | None = None
    path: str | None = None

    @property
    def args(self) -> dict[str, Any]:
        """The operator's arguments, or the words given to a function."""
        if self.task.op is not None:
            return {argument.name: argument.value for argument in self.task.op.args}
        return {str(number): word for number, word in enumerate(self.words)}

    @property
    def text(self) -> str:
        """The request as it is written on a command line."""
        if self.task.op is not None:
            return self.task.op.text
        return " ".join((self.name or "a task", *self.words))


def request_options(command: Command) -> Command:
    """The arguments and options by which a command is told its task."""
    for option in reversed(
        (
            click.argument("what", nargs=-1, metavar="OP KEY=VALUE... | SUITE/NAME | FILE.py:FUNCTION ARG..."),
            click.option("--spec", "spec_path", metavar="FILE", help="The task of a spec file."),
            click.option("--target", metavar="T", help='A kind, as llvm, or JSON: {"kind": "llvm", "mcpu": "znver5"}.'),
            click.option(
                "--constant", "constants", multiple=True, metavar="NAME", help="An input that calls never change."
            ),
            click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: all cores."),
        )
    ):
        command = option(command)
    return command


def store_option(command: Command) -> Command:
    """The option by which a command is told its store; it gets a `Store`."""
    option = click.option(
        "--store",
        metavar="DIR",
        help="Default: AUTOSCHED_STORE, or ~/.cache/autosched.",
        callback=lambda _context, _option, path: Store(path),
    )
    return option(command)


def layers_options(command: Command) -> Command:
    """The options by which a command is told where to look: `store`, which is a `Store`, `project` and `server`."""
    server = click.option(
        "--server",
        metavar="URL",
        callback=lambda _context, _option, url: named_server(url),
        help="A shared server, redis://HOST:6379/0. Default: AUTOSCHED_SERVER, or none.",
    )
    option = click.option(
        "--project",
        metavar="DIR",
        callback=lambda _context, _option, path: named_project(path),
        help="Spec files that a project keeps. Default: AUTOSCHED_PROJECT, or a folder autosched-specs here or above.",
    )
    return store_option(option(server(command)))


def named_server(url: str | None) -> str | None:
    """The URL, which is looked at even where the store answers; StoreError where it is none."""
    if url:
        read_url(url)
    return url


def named_project(path: str | None) -> str | None:
    """The path, which is looked at even where the store answers; StoreError where there is no such folder."""
    if path is not None:
        project_folder(path)
    return path


def allow_option(command: Command) -> Command:
    """The option by which a command is told which accuracy classes will do, beside those that anybody is given."""
    more = [accuracy for accuracy in ACCURACY_CLASSES if accuracy not in DEFAULT_ALLOW]
    option = click.option(
        "--allow",
        multiple=True,
        type=click.Choice(more),
        help="Also schedules whose results round more.",
        callback=lambda _context, _option, classes: (*DEFAULT_ALLOW, *classes),
    )
    return option(command)


def read_request(
    what: tuple[str, ...],
    spec_path: str | None,
    target: str | None,
    threads: int | None,
    constants: tuple[str, ...] = (),
) -> Request:
    """The request that a command line makes; SpecError where it makes none, or two."""
    request = _plain_request(what, spec_path, target, threads)
    if not constants:
        return request
    added = tuple(dict.fromkeys((*request.task.constants, *constants)))
    task = attrs.evolve(request.task, constants=added)
    check_constants(task)
    return attrs.evolve(request, task=task)


def _plain_request(what: tuple[str, ...], spec_path: str | None, target: str | None, threads: int | None) -> Request:
    if what and spec_path is not None:
        raise SpecError(f"found {what[0]!r} and --spec {spec_path}; give one of them")
    if spec_path is not None:
        return _request_from_file(spec_path, target, threads)
    if not what:
        raise SpecError("nothing to work on; give OP KEY=VALUE..., SUITE/NAME, FILE.py:FUNCTION ARG..., or --spec FILE")
    if function := FUNCTION.match(what[0]):
        task = task_from_function(
            function["path"], function["name"], what[1:], target=read_target(target), threads=threads
        )
        return Request(task=task, name=what[0], words=what[1:])

    from .nn.registry import get_task, parse_arguments

    task = get_task(what[0], target=read_target(target), threads=threads, **parse_arguments(what[0], what[1:]))
    return Request(task=task, name=task.op.name if task.op else None, words=what[1:])


def _request_from_file(path: str, target: str | None, threads: int | None) -> Request:
    spec = read_spec(path)
    changed: dict[str, Any] = {}
    if target is not None:
        changed["target"] = read_target(target)
    if threads is not None:
        changed["threads"] = threads
    task = attrs.evolve(spec.task, **changed) if changed else spec.task
    return Request(task=task, name=task.op.name if task.op else None, words=(), schedule=spec.schedule, path=path)


def read_spec(path: str) -> SpecFile:
    """The spec in a file, checked; every error names the file.

    Where its operator's name contradicts its workload, people are told so, and the name is dropped: nothing that is
    printed or stored of the file repeats it.
    """
    from .spec.spec_file import load_spec

    try:
        spec = load_spec(path)
    except SpecError as error:
        raise (error if repr(path) in str(error) else SpecError(f"{path}: {error}")) from error
    if spec.task.op is None:
        return spec

    from .nn.claimed_operator import contradiction

    found = contradiction(spec.task)
    if found is None:
        return spec
    said = f"warning: {path}: task.op: {' '.join(found.split())}; the workload counts, op and args are left out"
    click.echo(escaped(said), err=True)
    return attrs.evolve(spec, task=attrs.evolve(spec.task, op=None))


def read_target(text: str | None) -> Target:
    """The target that ``--target`` says: a kind, or a JSON object."""
    if text is None:
        return Target()
    if text.lstrip().startswith("{"):
        from .spec.json_text import read_json

        return target_from_value(read_json(text))
    return target_from_value(text)
