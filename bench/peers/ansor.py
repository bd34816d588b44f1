"""Ansor, the auto-scheduler of TVM up to 0.19, in an environment of its own: its defaults, on TE.

What it measures runs in processes that it starts itself, with as many threads as ours and on the same CPUs; that TVM
pins the pool's threads there, and leaves the calling one free. Its log stays in the folder of the search. Its kernels
expect arrays at multiples of 64 bytes, as TVM's own are.
"""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm
import tvm.topi
from tvm import auto_scheduler, te

from ..arrays import input_arrays, output_array
from ..opened import Found, Opened
from .te_operators import tensors

if TYPE_CHECKING:
    from ..opened import Order

LOG = "log.json"


def search(order: Order, folder: str, trials: int) -> Found:
    """Tunes with the library's defaults, repeated samples apart; the log has a line for each trial."""
    log = Path(folder, LOG)
    task = _task(order)
    begin = time.perf_counter()
    options = auto_scheduler.TuningOptions(
        num_measure_trials=trials,
        builder=auto_scheduler.LocalBuilder(n_parallel=order["threads"]),
        runner="local",
        measure_callbacks=[auto_scheduler.RecordToFile(str(log))],
        verbose=0,
    )
    task.tune(options)
    wall_s = time.perf_counter() - begin
    made = len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0
    best, _ = auto_scheduler.load_best_record(str(log), task.workload_key) if made else (None, None)
    return Found(trials=made, wall_s=wall_s, version=tvm.__version__, is_found=best is not None)


def open_contender(order: Order) -> Opened:
    """The kernel of the best line of the log; RuntimeError where there is none."""
    schedule, args = _task(order).apply_best(str(Path(order["found"], LOG)))
    kernel = tvm.build(schedule, args, _target(order))
    arrays = [tvm.nd.array(array) for array in (*input_arrays(order), output_array(order))]

    def output(_kernel: str) -> Any:
        return arrays[-1].numpy()

    return Opened(version=tvm.__version__, kernels={"best": functools.partial(kernel, *arrays)}, output=output)


def _task(order: Order) -> Any:
    """The search's task: Ansor knows it by the name of a function and its arguments, here the order's as text."""

    @functools.partial(auto_scheduler.register_workload, order["op"], override=True)
    def _compute(_args: str) -> list[Any]:
        return tensors(order, te, tvm.topi)

    key = json.dumps(order["args"], sort_keys=True)
    return auto_scheduler.SearchTask(func=order["op"], args=(key,), target=_target(order))


def _target(order: Order) -> Any:
    cpu = tvm.get_global_func("target.llvm_get_system_cpu")()
    return tvm.target.Target(f"llvm -mcpu={cpu} -num-cores={order['threads']}")
