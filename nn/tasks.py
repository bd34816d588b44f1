"""FlexTensor's doors: ``register_task(Task(...))``, then ``s, bufs, configs = schedule(task.key, ...)``, on our search.

Names, order and defaults of the arguments are the seed's (pku-liang/FlexTensor); docs/from-the-seed.md says what has
become of each. What they find is in the store, so that the same call finds it at once the next time. TVM is imported
when something is scheduled.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..spec import builder
from ..spec.cores import available_cores
from ..spec.errors import AutoschedError, SpecError
from ..spec.near_words import did_you_mean
from ..spec.schedule import Schedule
from ..spec.spec_file import SpecFile, load_spec
from ..spec.task import Task as SpecTask
from ..spec.task import target_from_value
from .registry import get_task

if TYPE_CHECKING:
    from ..search.budget import Budget
    from ..search.methods import Method
    from ..search.tracker import Remote
    from ..store.records import Record
    from ..store.store import Store

METHODS: Final = {"searching": "auto", "q": "q", "random": "random"}
"""The seed's methods → ours; all others of ours may be named too."""


@attrs.frozen
class Task:
    """A computation under a key: ``func(*args)`` gives ``[output.op], [inputs..., output]``, or the latter list alone.

    The tensors are TE's, or those of `autosched.spec.builder`. `category` and `name` are words for the key.
    """

    category: str
    name: str
    func: Callable[..., Any]
    args: tuple[Any, ...]
    device: str
    dev_id: int = 0

    @property
    def key(self) -> str:
        """``category_name_args_target(dev_id)``, as the seed made it."""
        return f"{self.category}_{self.name}_{self.args}_{self.device}({self.dev_id})"

    @property
    def target(self) -> Any:
        """TVM's target of the device, this machine's CPU where it is "llvm": what ``tvm.compile`` is to be given."""
        from ..spec.tvm_build import tvm_target

        return tvm_target(target_from_value(self.device), available_cores())

    def computation(self, threads: int | None = None) -> tuple[SpecTask, tuple[Any, ...]]:
        """The task's record, for all cores where `threads` is not given, and the tensors that the function made."""
        made = self.func(*self.args)
        bufs = tuple(made[1] if len(made) == 2 and isinstance(made[1], Sequence) else made)
        if all(isinstance(buffer, builder.Tensor) for buffer in bufs):
            return _from_builder(bufs, self.device, threads), bufs
        return SpecTask.from_te(bufs, target=self.device, threads=threads), bufs


TASK_TABLE: Final[dict[str, Task]] = {}
"""The registered tasks by key."""


def register_task(task: Task, override: bool = False) -> None:  # noqa: ARG001 # as in the seed, the later one counts
    """Makes a task known under its key."""
    TASK_TABLE[task.key] = task


def schedule(  # noqa: PLR0917 # the seed's arguments, in its order
    task_key: str,
    slevel: int = 4,
    rlevel: int = 3,
    op_trial: int = 50,
    graph_trial: int = 10,
    op_stop: int = 15,
    graph_stop: int = 5,
    number: int = 1,
    timeout: float = 5.0,
    parallel: int = 8,
    method: Method = "searching",
    *,
    trials: Sequence[int] | None = None,
    force_inline: bool = False,
    rpc_info: Remote | None = None,
    store: Store | str | os.PathLike[str] | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> tuple[Any, tuple[Any, ...], SpecFile]:
    """Searches, and gives ``s, bufs, configs``: a schedule for ``tvm.compile(s.mod, task.target)``, tensors, the spec.

    `task_key` is a registered task's, or names a suite's, ``"yolo/yolo3"``. The search has ``op_trial + graph_trial``
    trials in all, or the sum of `trials`, and may stop early where `op_stop` is less than `op_trial`. A build may take
    `timeout` seconds, and so may the first run; `parallel` candidates are built at a time, on so many cores at most.
    `rpc_info` names the devices of a tracker. `slevel`, `rlevel`, `graph_stop`, `number` and `force_inline` are taken
    and change nothing: the space has its own depths, inlining among its choices, and measuring its own number of runs.
    TVM's pool of threads is set to the task's. SpecError where an argument cannot be; AutoschedError where every trial
    failed.
    """
    from ..search.budget import Budget
    from ..store.claims import claims_from_record
    from ..store.store import Store

    _check_counts(slevel=slevel, rlevel=rlevel, op_trial=op_trial, number=number, parallel=parallel)
    _check_counts(0, graph_trial=graph_trial, op_stop=op_stop, graph_stop=graph_stop)
    if type(force_inline) is not bool:
        raise SpecError(f"found {force_inline!r}; allowed: True or False", "force_inline")
    budget = Budget(trials=op_trial + graph_trial if trials is None else sum(trials), early_stopping=op_stop < op_trial)
    options = _measuring(rpc_info, timeout, parallel)
    options |= {"method": METHODS.get(method, method) if isinstance(method, str) else method, "seed": seed}
    task, bufs = _computation(task_key, threads)
    record = _record(task, store if isinstance(store, Store) else Store(store), budget, options)
    configs = SpecFile(task=task, schedule=record.schedule, claims=claims_from_record(record))
    return _lowered(task, record.schedule), bufs, configs


def schedule_with_config(
    task_key: str,
    configs: SpecFile | Schedule | str | os.PathLike[str] | Sequence[Any],
    *,
    threads: int | None = None,
) -> tuple[Any, tuple[Any, ...]]:
    """``s, bufs`` of a task by what `schedule` found before: a spec, the path of its file, or a schedule alone.

    Also by what the seed's `schedule` found, for a CPU: ``[[{"spatial": ...}, ...], {"inline": ...}]``, as it stands
    behind the key in a line of its logs. SpecError where it is another computation's, or does not fit.
    """
    if isinstance(configs, str | os.PathLike):
        configs = load_spec(os.fspath(configs))
    if isinstance(configs, Schedule):
        task, bufs = _computation(task_key, threads)
        return _lowered(task, configs), bufs
    if not isinstance(configs, SpecFile):
        from .flextensor_config import schedule_from_config
        from .flextensor_log import reduce_order

        task, bufs = _computation(task_key, threads)
        return _lowered(task, schedule_from_config(task.workload, [*configs], reduce_order(task))), bufs
    task, bufs = _computation(task_key, configs.task.threads if threads is None else threads)
    if task.identity != configs.task.identity:
        raise SpecError(f"found another computation's than {task_key!r}; give what schedule found for it", "configs")
    from ..spec.rename import schedule_from_canonical, schedule_to_canonical

    canonical = schedule_to_canonical(configs.schedule, configs.task.names)
    return _lowered(task, schedule_from_canonical(canonical, task.names)), bufs


def _check_counts(least: int = 1, /, **counts: object) -> None:
    for name, value in counts.items():
        if type(value) is not int or value < least:
            raise SpecError(f"found {value!r}; allowed: a whole number from {least}", name)


def _computation(task_key: str, threads: int | None) -> tuple[SpecTask, tuple[Any, ...]]:
    """A registered task's record and tensors, or a named task's record and buffers."""
    if task_key in TASK_TABLE:
        return TASK_TABLE[task_key].computation(threads)
    if "(" in task_key or "/" not in task_key:  # a key, and no SUITE/NAME
        hint = did_you_mean(task_key, TASK_TABLE)
        raise SpecError(f"no task {task_key!r}{hint}; register_task(Task(...)) first, or name a suite's: yolo/yolo3")
    task = get_task(task_key, threads=threads)
    return task, tuple(task.workload.buffers[name] for name in task.workload.params)


def _from_builder(bufs: Sequence[builder.Tensor], target: str, threads: int | None) -> SpecTask:
    return SpecTask(
        workload=builder.build(bufs),
        target=target_from_value(target),
        threads=available_cores() if threads is None else threads,
    )


def _measuring(rpc_info: Remote | None, timeout: float, parallel: int) -> dict[str, Any]:
    """How candidates are measured, as the tuner takes it: here, or on the devices of a tracker."""
    if rpc_info is not None:
        from ..search.devices import find_devices
        from ..search.progress import unwatched

        devices = find_devices(rpc_info, unwatched)
        return {"machine": devices.machine, "check": devices.check, "bench": devices.bench}
    from ..search.measure import Limits, Measurer

    if type(timeout) not in (int, float) or timeout <= 0:
        raise SpecError(f"found {timeout!r}; allowed: seconds greater than 0", "timeout")
    builders = min(parallel, len(os.sched_getaffinity(0)))
    limits = Limits(build_s=timeout, first_run_s=timeout)
    return {"bench": functools.partial(Measurer, builders=builders, limits=limits)}


def _record(task: SpecTask, store: Store, budget: Budget, options: dict[str, Any]) -> Record:
    """The best that a finished search found, else what one finds now."""
    from ..search.rule import space_name
    from ..search.tuner import tune
    from ..store.store import DEFAULT_ALLOW
    from .algorithms import algorithms_of

    machine = options.get("machine")
    algorithms = algorithms_of(task, DEFAULT_ALLOW)
    space = space_name(None, [algorithm.name for algorithm in algorithms])
    state = store.search_state(task, machine)
    if state is not None and state.covers(budget.trials, space, budget.early_stopping):
        record = store.best(task, machine)
        if record is not None:
            return record
    tuned = tune(task, store, budget, algorithms=algorithms, **options)
    if tuned.record is None:
        failures = ", ".join(f"{count} {kind}" for kind, count in tuned.failures)
        raise AutoschedError(f"nothing was measured: {failures}; see the records of the store for each one's reason")
    return tuned.record


def _lowered(task: SpecTask, found: Schedule) -> Any:
    """TVM's schedule, once its pool has the task's threads: alone it would take half of the cores."""
    from ..spec.tvm_build import set_pool_threads
    from ..spec.tvm_lower import lower

    if task.target.kind == "llvm":
        set_pool_threads(task.threads)
    return lower(found, task)
