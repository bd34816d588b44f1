"""MetaSchedule, the search that TVM itself brings: its defaults, on a function made from TE.

It builds and runs in processes of its own, which have as many threads as ours and pin them to the same CPUs. Its
database stays in the folder of the search. Its kernels expect arrays at multiples of 64 bytes, as TVM's own are.
"""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tvm
from tvm import te, topi
from tvm.s_tir import meta_schedule as ms

from ...spec.tvm_build import host_cpu, set_pool_threads
from ..arrays import input_arrays, output_array
from ..opened import Found, Opened
from .te_operators import tensors

if TYPE_CHECKING:
    from ..opened import Order


def search(order: Order, folder: str, trials: int) -> Found:
    """Tunes with the library's defaults; a record for each trial in the database ``folder``."""
    runner = ms.runner.LocalRunner(initializer=functools.partial(pin, order["threads"], order["cpus"]))
    builder = ms.builder.LocalBuilder(max_workers=order["threads"])
    begin = time.perf_counter()
    database = ms.tir_integration.tune_tir(
        _module(order),
        _target(order),
        folder,
        trials,
        builder=builder,
        runner=runner,
        num_tuning_cores=order["threads"],
        seed=0,
    )
    wall_s = time.perf_counter() - begin
    made = len(database.get_all_tuning_records())
    is_found = database.query_schedule(_module(order), _target(order), "main") is not None
    return Found(trials=made, wall_s=wall_s, version=tvm.__version__, is_found=is_found)


def pin(threads: int, cpus: list[int]) -> None:
    """Gives the calling process a pool of threads with a CPU each, its own thread the first."""
    set_pool_threads(threads, cpus)
    os.sched_setaffinity(0, {cpus[0]})


def open_contender(order: Order) -> Opened:
    """The kernel of the best record; RuntimeError where there is none."""
    set_pool_threads(order["threads"], order["cpus"])
    database = ms.database.JSONDatabase(
        str(Path(order["found"], "database_workload.json")), str(Path(order["found"], "database_tuning_record.json"))
    )
    schedule = database.query_schedule(_module(order), _target(order), "main")
    if schedule is None:
        raise RuntimeError("MetaSchedule's database has no schedule of this work")
    kernel = tvm.compile(schedule.mod, target=_target(order))["main"]
    arrays = [tvm.runtime.tensor(array) for array in (*input_arrays(order), output_array(order))]

    def output(_kernel: str) -> Any:
        return arrays[-1].numpy()

    return Opened(version=tvm.__version__, kernels={"best": functools.partial(kernel, *arrays)}, output=output)


def _module(order: Order) -> tvm.IRModule:
    func = te.create_prim_func(tensors(order, te, topi))
    return tvm.IRModule({"main": func.with_attr("global_symbol", "main")})


def _target(order: Order) -> tvm.target.Target:
    return tvm.target.Target({"kind": "llvm", "mcpu": host_cpu(), "num-cores": order["threads"]})
