"""What every measurer holds, and how it comes and goes: a folder, the processes that build, who runs their kernels."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from .background import in_background
from .measurable import own_bytes
from .reference import Reference
from .runner import Limits, Runner
from .scratch import scratch_errors, scratch_path
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from ..spec.schedule import Schedule
    from ..spec.task import Task

AnyRunner = TypeVar("AnyRunner", bound=Runner)


class Measuring(Generic[AnyRunner]):
    """The processes and files in which schedules of one task are measured; a context manager, so that none outlives it.

    Workers do what `builder` and `worker` name; `runner`, which has their kernels run, is made when they are there.
    """

    def __init__(
        self,
        task: Task,
        limits: Limits,
        runner: Callable[[Workers, Reference], AnyRunner],
        *,
        builder: str,
        worker: str,
        seed: int,
        whole_points: int,
    ) -> None:
        self.task = task
        self.limits = limits
        self.busy_s = 0.0
        """Wall seconds spent waiting for candidates so far; what is left of a tuner's time is overhead."""
        self._builder = builder
        self._worker = worker
        self._end = time.monotonic() + limits.total_s
        self._task_shared = False
        self._folder = scratch_path()
        self._made = contextlib.ExitStack()
        try:
            self._made.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._workers = self._start_workers()
            self._made.callback(self._end_workers)
            with scratch_errors():
                self._folder.mkdir(mode=0o700)
            reference = Reference(task, self._folder, seed=seed, whole_points=whole_points)
            self._written = in_background(reference.write)  # while TVM is imported and the caller looks for the default
        except BaseException:
            self.close()
            raise
        self._runner = runner(self._workers, reference)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process and removes every file of this measurer."""
        self._made.close()

    @property
    def retracted(self) -> tuple[Schedule, ...]:
        """Schedules that had agreed with an output that was later found wrong: their times do not count."""
        return tuple(self._runner.retracted)

    def _start_workers(self) -> Workers:
        return Workers(
            self.task,
            self._folder,
            builder=self._builder,
            worker=self._worker,
            memory_bytes=self.limits.memory_bytes + own_bytes(self.task.workload),
            end=self._end,
        )

    def _end_workers(self) -> None:
        """Ends the workers of then: others may have taken the place of the first."""
        self._workers.close()

    def _restart_workers(self) -> None:
        """New workers in place of killed ones."""
        self._workers.close()
        self._workers = self._start_workers()
        self._task_shared = False
        self._runner.workers = self._workers

    def ready(self) -> None:
        """Waits for the reference, which is made beside the caller's own work, so that it is no part of a trial."""
        with scratch_errors():
            self._written.result()

    def _share_task(self) -> None:
        """Hands the task to the workers, once; until then the caller's own work overlaps the import of TVM."""
        if not self._task_shared:
            self.ready()
            self._workers.share_task()
            self._task_shared = True

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.busy_s += time.monotonic() - begin
