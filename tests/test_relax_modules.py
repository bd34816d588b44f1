"""Modules of Relax with the stored schedules in them: same numbers on TVM's virtual machine, and what is left alone."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.script import tirx as T  # noqa: N812 # TVMScript's name for it

import autosched as at
from autosched.nn.relax import REFUSED, REPLACED, UNKNOWN, ScheduledModule, schedule_module, schedule_pass
from autosched.search import tuner
from autosched.search.default import default_schedule
from autosched.spec.narrow import with_index_dtype
from autosched.spec.schedule import BindLoop, Nest, Reindex, Schedule, Split
from autosched.spec.task import Task
from autosched.spec.tvm_relax import primfuncs_of
from autosched.store.machine import this_machine
from pretended_bench import PretendedBench
from store_cases import record, timed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

op, nn = relax.op, relax.op.nn
SHAPES = {"x": (1, 2, 8, 8), "w": (4, 2, 3, 3), "b": (1, 4, 1, 1)}


@functools.cache
def network(*, fused: bool = True) -> tvm.IRModule:
    """A convolution, its bias and ReLU, then a softmax over channels and a running sum, which nothing here reads."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(name, relax.TensorType(shape, "float32")) for name, shape in SHAPES.items()]
    x, w, b = variables
    with builder.function("main", variables):
        with builder.dataflow():
            layer = builder.emit(nn.relu(op.add(nn.conv2d(x, w, padding=1), b)))
            output = builder.emit_output(op.cumsum(nn.softmax(layer, axis=1), axis=1))
        builder.emit_func_output(output)
    with tvm.target.Target("llvm"):
        mod = relax.transform.LegalizeOps()(relax.backend.DispatchSortScan()(builder.get()))
    changes = ("AnnotateTIROpPattern", "FuseOps", "FuseTIR") if fused else ()
    return tvm.transform.Sequential([getattr(relax.transform, change)() for change in changes])(mod)


def run(mod: tvm.IRModule, target: Any = "llvm", shapes: Iterable[tuple[int, ...]] = SHAPES.values()) -> Any:
    """What the virtual machine makes of random inputs, the network's unless others are given."""
    machine = relax.VirtualMachine(tvm.compile(mod, target=target), tvm.cpu())
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    allowed = os.sched_getaffinity(0)
    try:
        return machine["main"](*map(tvm.runtime.tensor, arrays)).numpy()
    finally:
        os.sched_setaffinity(0, allowed)  # TVM's pool leaves its caller on one core


def put(store: at.Store, task: Task, schedule: Schedule | None = None) -> None:
    """Has the store know a schedule of a task, plain loops unless it is given."""
    known = Schedule() if schedule is None else schedule
    store.put(record(timed(0.001), task=task, schedule=known, machine=this_machine(), protocol=at.Protocol(threads=2)))


def task_of(mod: tvm.IRModule, name: str) -> Task:
    return Task.from_primfunc(primfuncs_of(mod)[name], threads=2)


def states(scheduled: ScheduledModule) -> dict[str, str]:
    return {report.name: report.state for report in scheduled.functions}


@pytest.fixture
def store(tmp_path: Path) -> at.Store:
    return at.Store(tmp_path / "store")


@pytest.mark.system
def test_a_module_computes_the_same_with_the_schedules_that_are_known(store: at.Store) -> None:
    mod = network()
    names = [name for name in primfuncs_of(mod) if name != "cumsum"]
    for name in names:
        task = task_of(mod, name)
        put(store, task, default_schedule(task))
    scheduled = schedule_module(mod, store, threads=2)
    assert states(scheduled) == {"cumsum": REFUSED, **dict.fromkeys(names, REPLACED)}
    assert scheduled.replaced == len(names)
    np.testing.assert_allclose(run(scheduled.mod, scheduled.target), run(mod), rtol=1e-5, atol=1e-6)


def test_the_module_given_and_what_is_not_known_stay_as_they_are(store: at.Store) -> None:
    mod = network()
    before = tvm_ffi.structural_hash(mod)
    put(store, task_of(mod, "softmax"))
    scheduled = schedule_module(mod, store, threads=2)
    assert tvm_ffi.structural_hash(mod) == before
    assert str(scheduled).splitlines() == [
        f"cumsum: refused: {scheduled.functions[0].reason}",
        "fused_conv2d_add_relu: not known: no schedule is stored; give trials to search for one",
        "softmax: replaced: 0.001 s, measured here",
    ]
    assert "is opaque" in scheduled.functions[0].reason
    for name in ("cumsum", "fused_conv2d_add_relu"):
        assert primfuncs_of(scheduled.mod)[name].same_as(primfuncs_of(mod)[name])


def test_an_empty_store_changes_nothing_and_makes_nothing(tmp_path: Path) -> None:
    mod = network()
    scheduled = schedule_module(mod, at.Store(tmp_path / "none"), threads=2)
    assert tvm_ffi.structural_equal(scheduled.mod, mod)
    assert scheduled.replaced == 0
    assert list(tmp_path.iterdir()) == []


def test_functions_promise_what_holds(store: at.Store) -> None:
    """Parameters lie apart and at multiples of 4 bytes; a function is as private, and as annotated, as it was."""
    mod = network()
    put(store, task_of(mod, "softmax"))
    old, new = (primfuncs_of(module)["softmax"] for module in (mod, schedule_module(mod, store, threads=2).mod))
    assert [param.ty.data_alignment for param in new.params] == [4, 4]
    assert bool(new.attrs["tirx.noalias"])
    assert bool(new.attrs["tirx.is_scheduled"])
    assert new.attrs["op_pattern"] == old.attrs["op_pattern"]
    assert "global_symbol" not in new.attrs
    public = tvm.IRModule({"soft": old.with_attr("global_symbol", "soft")})
    assert primfuncs_of(schedule_module(public, store, threads=2).mod)["soft"].attrs["global_symbol"] == "soft"


def test_scheduling_twice_changes_nothing_more(store: at.Store) -> None:
    mod = network()
    put(store, task_of(mod, "softmax"))
    once = schedule_module(mod, store, threads=2).mod
    twice = schedule_module(once, store, threads=2)
    assert states(twice)["softmax"] == REFUSED
    assert "marked as scheduled" in {report.name: report.reason for report in twice.functions}["softmax"]
    assert tvm_ffi.structural_equal(twice.mod, once)


@pytest.mark.system
def test_what_is_known_of_an_operator_serves_relax_which_counts_in_wider_indices(store: at.Store) -> None:
    mod = network(fused=False)
    task = at.get_task("conv2d", N=1, C=2, H=8, W=8, K=4, R=3, S=3, padding=1, threads=2)
    assert task_of(mod, "conv2d").workload.index_dtype == "int64" != task.workload.index_dtype
    put(store, task)
    scheduled = schedule_module(mod, store, threads=2)
    assert states(scheduled)["conv2d"] == REPLACED
    np.testing.assert_allclose(run(scheduled.mod, scheduled.target), run(mod), rtol=1e-5, atol=1e-6)


@functools.cache
def layers(*, bound: bool = True) -> tvm.IRModule:
    """Two products with one weight; where it is `bound`, that is a constant, and the rows are the only parameter."""
    builder = relax.BlockBuilder()
    rows, weight = (relax.Var(n, relax.TensorType(s, "float32")) for n, s in (("x", (16, 32)), ("w", (32, 32))))
    with builder.function("main", [rows, weight]):
        with builder.dataflow():
            output = builder.emit_output(op.matmul(op.matmul(rows, weight), weight))
        builder.emit_func_output(output)
    mod = builder.get()
    if bound:
        matrix = np.random.default_rng(1).standard_normal((32, 32)).astype("float32")
        mod = relax.transform.BindParams("main", {"w": matrix})(mod)
    return relax.transform.LegalizeOps()(mod)


def packed_once(task: Task) -> Schedule:
    """The weight laid in panels of 8 columns, once."""
    (stage,), (weight,) = task.workload.stages, task.constants
    rows, columns = (axis.name for axis in stage.axes)
    split = Split(axis=columns, into=("jo", "ji"), factors=(4, 8))
    panels = Reindex(
        stage=stage.name, reads=weight, as_="panels", splits=(split,), order=("jo", stage.reduce[0].name, "ji")
    )
    order = ("jo", rows, stage.reduce[0].name, "ji")
    nest = Nest(stage=stage.name, splits=(split,), order=order, bind=(BindLoop(loop="ji", to="vectorize"),))
    parallel = Nest(stage="panels", bind=(BindLoop(loop="jo", to="parallel"),))
    return Schedule(stagings=(panels,), once=("panels",), nests=(parallel, nest))


def constant_task() -> Task:
    task = Task.from_primfunc(primfuncs_of(layers())["matmul"], threads=2)
    return attrs.evolve(task, constants=(task.workload.params[1],))


def test_what_is_computed_once_of_weights_is_computed_before(store: at.Store) -> None:
    mod, task = layers(), constant_task()
    put(store, task, packed_once(task))
    allowed = os.sched_getaffinity(0)
    scheduled = schedule_module(mod, store, threads=2)
    assert states(scheduled) == {"matmul": REPLACED}
    assert os.sched_getaffinity(0) == allowed, "no pool of TVM's was started here"
    assert list(primfuncs_of(scheduled.mod)) == ["matmul_once"]
    (func,) = primfuncs_of(scheduled.mod).values()
    assert len(func.params) == 4
    assert func.params[3].name == primfuncs_of(mod)["matmul"].params[2].name, "outputs are last"
    new, old = (run(each, scheduled.target, [(16, 32)]) for each in (scheduled.mod, mod))
    np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)


def test_weights_that_come_with_each_call_are_no_constants(store: at.Store) -> None:
    put(store, constant_task(), packed_once(constant_task()))
    assert schedule_module(layers(bound=False), store, threads=2).replaced == 0


def test_what_is_known_without_constants_serves_where_nothing_better_is(store: at.Store) -> None:
    put(store, attrs.evolve(constant_task(), constants=()))
    scheduled = schedule_module(layers(), store, threads=2)
    assert states(scheduled) == {"matmul": REPLACED}
    assert len(primfuncs_of(scheduled.mod)["matmul"].params) == 3


@pytest.mark.parametrize("name", ["argmax", "one_hot"])
def test_indices_that_are_values_keep_their_type(name: str) -> None:
    from relax_operators import READ, functions_of

    (func,) = functions_of(READ[name]).values()
    task = Task.from_primfunc(func, threads=2)
    assert with_index_dtype(task, "int32") is None
    assert with_index_dtype(task, "int64") is task


@pytest.mark.system
@pytest.mark.usefixtures("few_draws")
def test_it_searches_only_where_it_is_told_to(store: at.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = PretendedBench()
    monkeypatch.setattr(tuner, "tune", functools.partial(tuner.tune, bench=bench))
    mod = network()
    assert schedule_module(mod, store, threads=2).replaced == 0
    assert bench.measured == []
    assert schedule_module(mod, store, threads=2, trials=3).replaced == 2
    assert bench.measured != []
    assert schedule_module(mod, store, threads=2).replaced == 2


def test_a_pass_among_passes(store: at.Store) -> None:
    mod, seen = network(), []
    put(store, task_of(mod, "softmax"))
    steps = [schedule_pass(seen.append, store=store, threads=2), relax.transform.ToNonDataflow()]
    changed = tvm.transform.Sequential(steps)(mod)
    assert [scheduled.replaced for scheduled in seen] == [1]
    assert bool(primfuncs_of(changed)["softmax"].attrs["tirx.is_scheduled"])


def test_a_function_that_is_called_in_place_is_left_alone(store: at.Store) -> None:
    @T.prim_func(private=True, s_tir=True)
    def doubled(a: T.Buffer((16,), "float32")) -> None:
        for i in range(16):
            with T.sblock("doubled"):
                v_i = T.axis.spatial(16, i)
                a[v_i] = a[v_i] * T.float32(2)

    scheduled = schedule_module(tvm.IRModule({"doubled": doubled}), store, threads=2)
    assert states(scheduled) == {"doubled": REFUSED}
    assert isinstance(primfuncs_of(scheduled.mod)["doubled"], tirx.PrimFunc)


def test_what_is_no_module_is_refused(store: at.Store) -> None:
    with pytest.raises(at.LoweringError, match=r"found a list; pass a tvm\.IRModule, as Relax's LegalizeOps gives"):
        schedule_module([], store)
    assert UNKNOWN == "not known"
