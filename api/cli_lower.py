"""``autosched lower``: a spec file as TensorIR, as machine code, as the source of kernels, or pass by pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .cli_request import read_spec
from .spec.errors import SpecError
from .spec.gpu import limits_of
from .spec.without_torch import leave_torch_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spec.spec_file import SpecFile


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--tir", "form", flag_value="tir", default=True, help="TensorIR, fully scheduled (the default).")
@click.option("--asm", "form", flag_value="asm", help="Machine code.")
@click.option("--cuda", "form", flag_value="cuda", help="The source of a GPU's kernels; needs neither GPU nor nvcc.")
@click.option("--explain", "form", flag_value="explain", help="What each staging and each pass does.")
def lower(path: str, form: str) -> None:
    """Print what a spec file is lowered to."""
    spec = read_spec(path)
    if form == "cuda" and limits_of(spec.task.target) is None:
        message = f"--cuda is for GPUs, the target of the task is {spec.task.target.kind!r}"
        raise SpecError(f"{message}; use --asm, or a task for cuda", "task.target.kind")

    leave_torch_out()
    # Here, because TVM takes a second to import and bad files need none of it.
    from .spec.check import check_schedule
    from .spec.tvm_build import compile_module, device_source, tvm_target
    from .spec.tvm_lower import lower as lower_schedule
    from .spec.tvm_lower import module_from_plan
    from .spec.tvm_target import check_target

    check_target(spec.task.target)
    if form == "explain":
        for part in explained(spec):
            click.echo(part)
        return
    if form == "tir":
        click.echo(lower_schedule(spec.schedule, spec.task).mod.script())
        return
    mod = module_from_plan(check_schedule(spec.schedule, spec.task))
    executable = compile_module(mod, tvm_target(spec.task.target, spec.task.threads))
    if form == "cuda":
        click.echo(device_source(executable))
        return
    click.echo(executable.mod.inspect_source("asm"))


def explained(spec: SpecFile) -> Iterator[str]:
    """The workload after each staging, then TensorIR after each pass."""
    from .spec.check import check_schedule
    from .spec.check_algorithm import starting_workload
    from .spec.convert import unstructure
    from .spec.json_text import compact_json
    from .spec.nest import plan_from_nests
    from .spec.rewrite import apply_staging
    from .spec.show import text_from_plan
    from .spec.tvm_lower import lower_plan

    plan = check_schedule(spec.schedule, spec.task)
    workload = spec.task.workload
    yield f"=== the task\n{text_from_plan(plan_from_nests(workload, ()))}\n"
    if spec.schedule.algorithm is not None:
        workload = starting_workload(spec.schedule, workload)
        yield f"=== algorithm {spec.schedule.algorithm.name}\n{text_from_plan(plan_from_nests(workload, ()))}\n"
    for number, staging in enumerate(spec.schedule.stagings):
        workload = apply_staging(workload, staging)
        said = compact_json(unstructure(staging))
        yield f"=== stagings[{number}] {said}\n{text_from_plan(plan_from_nests(workload, ()))}\n"
    yield f"=== nests\n{text_from_plan(plan)}\n"
    passes: list[str] = []
    lower_plan(plan, lambda name, sch: passes.append(f"=== {name}\n{sch.mod.script()}\n"))
    yield from passes
