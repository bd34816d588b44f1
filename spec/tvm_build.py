"""Building with TVM: a target from the record, a module compiled for it, the thread pool that will run it."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import tvm

from .errors import LoweringError, shortened
from .tvm_features import check_buildable
from .tvm_names import DISABLE_ASSERT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .task import Target

TVM_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError)
"""What TVM raises: its C++ errors arrive as the Python exception of the same name, or as a RuntimeError."""

_LIST_OPTIONS = frozenset({"mattr", "keys", "libs"})
_ONE_CORE_PER_THREAD, _SHARE_ALL_CORES = -2, -3  # ThreadGroup::AffinityMode


def host_cpu() -> str:
    """LLVM's name of this machine's CPU, as ``znver4``."""
    return str(tvm.get_global_func("target.llvm_get_system_cpu")())


def tvm_target(target: Target, threads: int) -> tvm.target.Target:
    """TVM's object for a target record; ``llvm`` without an ``mcpu`` means this machine's CPU.

    `threads` becomes ``num-cores`` of a CPU target. Lists are written with commas: ``mattr`` = ``+avx2,+fma``.
    """
    options: dict[str, Any] = {"kind": target.kind}
    for option in target.options:
        listed = option.name in _LIST_OPTIONS and isinstance(option.value, str)
        options[option.name] = str(option.value).split(",") if listed else option.value
    host = {"kind": "llvm", "mcpu": host_cpu()}
    if target.kind == "llvm":
        if not {"mcpu", "mtriple"} & options.keys():
            options["mcpu"] = host["mcpu"]
        options.setdefault("num-cores", threads)
    else:
        options.setdefault("host", host)
    try:
        return tvm.target.Target(options)
    except TVM_ERRORS as error:
        raise LoweringError(f"target {target.kind!r}: {useful_line(error)}") from error


def compile_module(
    mod: tvm.IRModule, target: tvm.target.Target, *, check_arguments: bool = True
) -> tvm.runtime.Executable:
    """The machine code of a module; LoweringError with the compiler's reason where it has none.

    Without `check_arguments` the entry takes what it is called with on trust, which saves a tenth of the compiler's
    time; the loops are the same.
    """
    check_buildable(mod, target)
    try:
        with tvm.transform.PassContext(config={DISABLE_ASSERT: not check_arguments}):
            return tvm.compile(mod, target=target)
    except TVM_ERRORS as error:
        raise LoweringError(f"the compiler refused the module: {useful_line(error)}") from error


def device_source(executable: tvm.runtime.Executable) -> str:
    """The source of the kernels of a GPU's executable: CUDA C++ where it is for cuda. Needs neither GPU nor nvcc."""
    try:
        return "\n".join(str(module.inspect_source()) for module in executable.mod.imports)
    except TVM_ERRORS as error:
        raise LoweringError(f"the kernels have no source: {useful_line(error)}") from error


def useful_line(error: BaseException) -> str:
    """The one line of a compiler's error that says what is wrong, at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Traceback", "File ", "at ", "|", "[bt]"))]
    if not lines:
        return type(error).__name__
    telling = (line for line in lines if line.lower().startswith(("error:", "check failed", "internalerror:")))
    return shortened(next(telling, lines[0]), 300)


def set_pool_threads(threads: int, cpus: Sequence[int] | None = None) -> None:
    """Makes TVM's pool of the calling thread run `threads` threads; call it before the first parallel kernel.

    With `cpus`, one for each thread, they are pinned there; else they share the CPUs that this process may use. The
    calling thread takes part in every kernel, and keeps the CPUs that it had. The pool is TVM's, one per calling
    thread, and its size is fixed by the first parallel kernel; LoweringError where it is already smaller.
    """
    before = os.sched_getaffinity(0)
    allowed = sorted(before)
    chosen = list(cpus) if cpus is not None else [allowed[i % len(allowed)] for i in range(threads)]
    mode = _SHARE_ALL_CORES if cpus is None else _ONE_CORE_PER_THREAD
    # Without a list of CPUs TVM takes half of the machine at most; its length is what bounds the pool.
    tvm.get_global_func("runtime.config_threadpool")(mode, threads, [str(cpu) for cpu in chosen])
    os.sched_setaffinity(0, before)  # TVM moves the caller too
    if (found := pool_threads()) != threads:
        raise LoweringError(
            f"TVM's thread pool has {found} threads, {threads} were asked for; it was started before: "
            f"set TVM_NUM_THREADS={threads} in the environment, or build before the first parallel kernel"
        )


def pool_threads() -> int:
    """Threads that a parallel kernel called from this thread will use; starts the pool where there is none."""
    return int(_count_threads()())


@cache
def _count_threads() -> Any:
    """TVM's function that says it: looking it up takes twice as long as asking."""
    return tvm.get_global_func("runtime.NumThreads")
