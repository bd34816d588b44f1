"""Whether this TVM can build for a target."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import tvm

from .errors import LoweringError, SpecError
from .tvm_build import tvm_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .task import Option, Target


def check_target(target: Target) -> None:
    """Raises SpecError unless this TVM can build for `target`: knows kind, options and CPU, and generates its code."""
    try:
        tvm_target(target, threads=1)
    except LoweringError as error:
        raise SpecError(f"TVM {tvm.__version__} does not take it: {error}", "target") from error
    if tvm.get_global_func(f"target.build.{target.kind}", allow_missing=True) is None:
        raise SpecError(
            f"TVM {tvm.__version__} generates no code for {target.kind!r}; use 'llvm' or a kind it was built with",
            "target.kind",
        )
    if target.kind == "llvm":
        _check_cpu({option.name: option.value for option in target.options})


def _check_cpu(options: Mapping[str, Option]) -> None:
    """SpecError for a CPU that LLVM does not know: it would build for any CPU of the kind, and go on.

    Only for this machine's kind of CPU: asked about a triple that it does not know, TVM crashes.
    """
    cpu = options.get("mcpu")
    if cpu is None or "mtriple" in options:
        return
    known = [str(name) for name in tvm.get_global_func("target.llvm_get_cpu_archlist")(tvm.target.Target("llvm"))]
    if cpu not in known:
        close = ", ".join(difflib.get_close_matches(str(cpu), known, n=3) or known[:3])
        raise SpecError(f"LLVM knows no CPU {cpu!r} here; it knows {len(known)}, as {close}", "target.mcpu")
