"""What is computed: an operator of the registry with its arguments, under a short name for rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from ..nn.registry import get_task
from ..spec.flops import flop_count
from ..spec.task import Argument

if TYPE_CHECKING:
    from ..spec.task import Task


@attrs.frozen(kw_only=True)
class Work:
    """A task of the registry; `args` as pairs, without the defaults."""

    name: str
    op: str
    args: tuple[tuple[str, int | str | float | tuple[int, ...]], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The task as it is written on a command line."""
        return (self.op, *(Argument(name=name, value=value).text for name, value in self.args))

    @property
    def group(self) -> str:
        """What stands before the stroke of a name like ``C2D/yolo3``; "" where there is none."""
        return self.name.rpartition("/")[0]

    @property
    def file_name(self) -> str:
        """The name as that of a file."""
        return self.name.replace("/", "-").replace(" ", "_")

    def task(self, threads: int) -> Task:
        """The task for so many threads."""
        args: dict[str, Any] = dict(self.args)
        return get_task(self.op, threads=threads, **args)

    def all_args(self) -> dict[str, Any]:
        """The arguments with the defaults."""
        call = self.task(1).op
        assert call is not None
        return {argument.name: argument.value for argument in call.args}

    def gflop(self) -> float:
        """Operations of a call, in 1e9; two for a multiply-add."""
        count = flop_count(self.task(1).workload)
        assert count is not None, "works multiply"
        return count / 1e9


def work(name: str, op: str, **args: int | str) -> Work:
    """A work, written like a call of `get_task`."""
    return Work(name=name, op=op, args=tuple(args.items()))
