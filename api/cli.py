"""The command line: ``autosched tune gemm N=1024 K=1024 M=1024``, and what else it can do.

Standard output is for results, standard error for people: progress, and one line for each error. Exit status 0 is
success, 1 a failure that is not the input's fault, 2 bad input, 3 a lookup that missed, 130 Ctrl-C: the first one ends
a command in order, a second one at once. A command's module is imported when it is called: a lookup needs neither NumPy
nor TVM.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from .spec.errors import AutoschedError, LoweringError, SpecError, StoreError, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "tune": ("cli_tune", "find the fastest schedule: in the store, or by a search"),
    "lookup": ("cli_lookup", "what the store knows; never measures"),
    "why": ("cli_why", "why a lookup hits or misses, and what would make it a hit"),
    "run": ("cli_run", "build a spec file, compare it with its own reference, time it here"),
    "show": ("cli_files", "a spec file's loops, for people"),
    "check": ("cli_files", "whether spec files are well formed, a line each"),
    "diff": ("cli_diff", "what two spec files say differently, names apart"),
    "lower": ("cli_lower", "a spec file as TensorIR, machine code, or pass by pass"),
    "export": ("cli_exchange", "the best schedules, or all that is known, to spec files or a bundle"),
    "import": ("cli_exchange", "what spec files and bundles say, into the store, as claims"),
    "merge": ("cli_exchange", "spec files and bundles into one, each schedule once with the claims of all"),
    "rebuild": ("cli_exchange", "a store again, from what export --all wrote of it"),
    "verify": ("cli_recheck", "whether what others claim gives right numbers here"),
    "recheck": ("cli_recheck", "whether what the store serves is as fast as it was; what is not goes into quarantine"),
    "tasks": ("cli_tasks", "the operators and their arguments"),
    "record-space": ("cli_record", "measure many schedules of a task, for searching without hardware"),
    "doctor": ("cli_doctor", "what tuning depends on here: TVM, threads, machine, store, ceiling"),
    "bench": ("cli_bench", "suites of figures against peers, each beside its bar"),
}
"""Name → the module that has the command under that name, and what it does."""
_NAMES: Final = {"import": "import_"}
"""Commands whose name no function can have."""

FAILED: Final = 1
BAD_INPUT: Final = 2
MISSED: Final = 3
INTERRUPTED: Final = 130


class Program(click.Group):
    """The commands, each imported on first use, and the one place where errors become a line and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        """The names, most wanted first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # as above
        """The command; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        with _uncollected():
            module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = getattr(module, _NAMES.get(cmd_name, cmd_name.replace("-", "_")))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 # as above
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Runs a command and exits; whatever goes wrong on purpose is one line on standard error."""
        atexit.register(gc.freeze)  # else Python looks for cycles among all classes before it ends: 60 of 450 ms
        try:
            with _second_interrupt_ends():
                status = super().main(*args, **{**options, "standalone_mode": False})
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(BAD_INPUT)
        except click.ClickException as error:
            _fail(error.format_message(), BAD_INPUT)
        except click.Abort:
            _fail("interrupted", INTERRUPTED)
        except AutoschedError as error:
            _fail(str(error), exit_status(error))
        except BrokenPipeError:
            # Whoever read has read enough; Python would complain once more when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        sys.exit(status if isinstance(status, int) else 0)


def exit_status(error: AutoschedError) -> int:
    """2 for what the input or its place is to blame for, else 1."""
    return BAD_INPUT if isinstance(error, SpecError | StoreError | LoweringError) else FAILED


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keeps the collector from what is imported: it stays for good, and looking at it again and again takes 20 ms."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _second_interrupt_ends() -> Iterator[None]:
    """Has the first Ctrl-C end a command in order, and a second one at once: what is in the store is safe then too."""

    def at_once(*_: object) -> NoReturn:
        os.write(2, b"autosched: interrupted\n")
        os._exit(INTERRUPTED)  # a tuner's helpers end by themselves when it is gone

    def in_order(*_: object) -> NoReturn:
        signal.signal(signal.SIGINT, at_once)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    # Whoever calls this from a program or a thread of theirs decides.
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, in_order)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"autosched: {escaped(' '.join(message.split()))}", err=True)
    sys.exit(status)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="autosched")
def main() -> None:
    """Schedules as data: fast tensor programs, found once and kept."""


if __name__ == "__main__":
    main()
