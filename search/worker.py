"""A disposable process that builds candidates and times them: forked for one candidate, killed after it.

What it runs may do anything, so nothing that it says is believed beyond its own candidate.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from ..spec.check import check_schedule
from ..spec.claim import Failure, Protocol
from ..spec.convert import structure
from ..spec.errors import LoweringError, MeasureError, SpecError
from ..spec.schedule import Schedule
from ..spec.task import Task
from ..spec.tolerance import LOOSER, accuracy_of
from ..spec.tvm_build import TVM_ERRORS, compile_module, set_pool_threads, tvm_target, useful_line
from ..spec.tvm_lower import module_from_plan
from ..spec.tvm_run import CompiledKernel, tensor_over
from .buffers import GuardedBuffer, loaded_buffers
from .pinning import check_pinned, pin_threads, wait_until_alone
from .pulse import Pulse, level_of
from .reference import OutputReference, agreed_path, load_outputs
from .sampling import Kernel, samples_in_turn, samples_of
from .scratch import scratch_errors
from .wire import BrokenSessionError, Channel, Message, WireError

if TYPE_CHECKING:
    from .verify import Mismatch

Builder: TypeAlias = Callable[[Schedule, Task, Sequence[GuardedBuffer]], Kernel]

OUT_OF_MEMORY_WORDS = ("bad_alloc", "cannot allocate memory", "out of memory", "memoryerror")


def build_kernel(schedule: Schedule, task: Task, buffers: Sequence[GuardedBuffer]) -> Kernel:
    """The builder of real candidates: lowered and compiled to machine code, bound to its buffers."""
    plan = check_schedule(schedule, task)
    target = tvm_target(task.target, task.threads)
    executable = compile_module(module_from_plan(plan), target, check_arguments=False)  # they are ours
    tensors = {b.buffer.name: tensor_over(b.data, b.buffer.shape, b.buffer.dtype) for b in buffers}
    return CompiledKernel(executable, plan, tensors)


@attrs.frozen(kw_only=True)
class Site:
    """What every worker of a task inherits: the task, its inputs in memory, and what the outputs must be."""

    task: Task
    folder: Path
    builder: Builder
    inputs: dict[str, GuardedBuffer]
    outputs: dict[str, OutputReference]
    agreed: int = 0
    """Number of the kept output among `outputs`; 0: none."""
    pulse: Pulse | None = None
    """What tells whether the machine is disturbed; None where kernels run elsewhere."""


class CandidateError(Exception):
    """A candidate failed in a way that this process survived."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure(kind=kind, detail=detail)


class Worker:
    """Serves requests until the tuner closes the connection."""

    @staticmethod
    def pulse(task: Task) -> Pulse | None:
        """What all workers of a task inherit to tell whether the machine is disturbed."""
        return Pulse(task.threads, build_kernel)

    def __init__(self, channel: Channel, site: Site) -> None:
        self._channel = channel
        self._site = site
        workload = site.task.workload
        self._results = {name: GuardedBuffer(workload.buffers[name]) for name in workload.outputs}
        for result in self._results.values():
            result.erase()  # the first touch of fresh memory takes long, and now others are building too
        self._buffers = [site.inputs.get(name) or self._results[name] for name in workload.params]
        self._kernels: list[Kernel] = []
        self._looser: dict[int, float] = {}
        """How many times further off than the task's own sums a kernel's outputs may be."""
        self._cpus: tuple[int, ...] = ()

    def serve(self) -> None:
        """Answers each request with one message or several; a failed candidate is an answer too."""
        answers = self.answers()
        while True:
            try:
                message = self._channel.receive()
            except WireError:
                return
            try:
                answer = answers[message["op"]](message)
            except CandidateError as error:
                answer = {"failed": attrs.asdict(error.failure)}
            except BrokenSessionError as error:
                answer = {"broken": str(error)}
            except (MeasureError, LoweringError) as error:
                answer = {"harness": str(error)}
            self._channel.send(answer)

    def answers(self) -> dict[str, Callable[[Message], Message]]:
        """What is done for each request."""
        return {
            "build": self.build,
            "build_all": self.build_all,
            "verify": self.verify,
            "keep": self.keep,
            "time": self.time,
            "rest": self.rest,
            "retime": self.retime,
            "beside": self.beside,
        }

    def build(self, message: Message) -> Message:
        """Builds a schedule and keeps its kernel under the next number."""
        begin = time.perf_counter()
        number = self._keep(*self._built(message["schedule"]))
        return {"kernel": number, "build_s": time.perf_counter() - begin}

    def build_all(self, message: Message) -> Message:
        """Builds schedules beside one another; a number or a failure of each. (The compiler lets other threads run.)"""
        with ThreadPoolExecutor(message["builders"]) as pool:
            building = [pool.submit(self._built, schedule) for schedule in message["schedules"]]
        wait_until_alone()
        answers: list[Message] = []
        for built in building:
            try:
                answers.append({"kernel": self._keep(*built.result())})
            except CandidateError as error:
                answers.append({"failed": attrs.asdict(error.failure)})
        return {"built": answers}

    def _built(self, content: Message) -> tuple[Kernel, float]:
        """A kernel, and how many times further off than the task's own sums its outputs may be."""
        try:
            schedule = structure(content, Schedule)
            kernel = self._site.builder(schedule, self._site.task, self._buffers)
            return kernel, LOOSER[accuracy_of(self._site.task.workload, schedule.algorithm)]
        except SpecError as error:
            raise CandidateError("constraint", str(error)) from error
        except LoweringError as error:
            raise CandidateError(_kind_of(error, "build_error"), str(error)) from error
        except (MemoryError, *TVM_ERRORS) as error:
            raise CandidateError(_kind_of(error, "build_error"), useful_line(error)) from error

    def _keep(self, kernel: Kernel, looser: float) -> int:
        self._kernels.append(kernel)
        self._looser[len(self._kernels) - 1] = looser
        return len(self._kernels) - 1

    def verify(self, message: Message) -> Message:
        """Runs a kernel once and compares every output; a difference that may be the reference's is a dispute."""
        kernel = self._kernels[message["kernel"]]
        if message["agreed"] != self._site.agreed:  # forked before that output was kept
            outputs = load_outputs(self._site.task, self._site.folder, message["agreed"])
            self._site = attrs.evolve(self._site, outputs=outputs, agreed=message["agreed"])
        self._start_pool(tuple(message["cpus"]), message["pinned"])
        self._erase_results()
        sums = self._checksums()
        self._run(kernel.prepare)
        first_s = self._run(kernel.timed_call)
        for (name, before), after in zip(sums.items(), self._checksums().values(), strict=True):
            if after != before:
                raise CandidateError("wrong_answer", f"input {name} was changed by the kernel")
        self._check_guards()
        return {"first_s": first_s, "disputed": self._disputed(self._looser[message["kernel"]])}

    def _erase_results(self) -> None:
        for result in self._results.values():
            result.erase()

    def _checksums(self) -> dict[str, int]:
        """A number for each input that changes when its values do."""
        return {name: buffer.checksum() for name, buffer in self._site.inputs.items()}

    def _disputed(self, looser: float) -> Message | None:
        for name, result in self._results.items():
            wrong, disputed = self._site.outputs[name].mismatch(result.array(), looser)
            if wrong is not None and not disputed:
                raise CandidateError("wrong_answer", wrong.text(result.buffer.shape))
            if wrong is not None:
                return {**_plain(wrong), "detail": wrong.text(result.buffer.shape)}
        return None

    def _check_guards(self) -> None:
        for name, buffer in {**self._site.inputs, **self._results}.items():
            if not buffer.is_intact():
                raise CandidateError("wrong_answer", f"bytes before or behind {name} were written")

    def _start_pool(self, cpus: tuple[int, ...], pinned: bool) -> None:
        """Threads are started when a candidate is about to run, since an idle pool spins for a while."""
        if self._cpus:
            return
        set_pool_threads(len(cpus), cpus if pinned else None)
        if pinned:
            pin_threads(cpus)
            self._cpus = cpus

    def keep(self, message: Message) -> Message:
        """Leaves the outputs of the last call as files, for later candidates to be compared with."""
        for number, result in enumerate(self._results.values()):
            path = agreed_path(self._site.folder, message["agreed"], number)
            partial = path.with_suffix(f".{os.getpid()}.npy")
            with scratch_errors():
                np.save(partial, result.data)
                partial.replace(path)
        return {"kept": message["agreed"]}

    def time(self, message: Message) -> Message:
        """The samples of a kernel that was verified."""
        kernel = self._kernels[message["kernel"]]
        protocol = structure(message["protocol"], Protocol)
        before = self._beats()
        best_s = message["best_s"]
        if best_s is not None:  # what it would take now
            best_s *= level_of(before, message["pulse_s"])
        samples = self._run(lambda: samples_of(kernel, protocol, message["first_s"], best_s))
        beats = (*before, *self._beats())
        self._check_after()
        return {"samples_s": samples, "beats_s": beats}

    def _beats(self) -> tuple[float, ...]:
        """What the machine's pulse takes now; empty where nothing is known of it."""
        return () if self._site.pulse is None else (self._site.pulse.beat_s(),)

    def rest(self, message: Message) -> Message:
        """Waits until the machine is quiet, or patience is over."""
        assert self._site.pulse is not None, "who has none is never disturbed"
        return {"is_quiet": self._site.pulse.rest(message["pulse_s"], message["patience_s"])}

    def retime(self, message: Message) -> Message:
        """One sample of each kernel in turn, many rounds: what disturbs one disturbs its neighbours too."""
        kernels = [self._kernels[number] for number in message["kernels"]]
        protocol = structure(message["protocol"], Protocol)
        self._start_pool(tuple(message["cpus"]), protocol.pinned)
        samples = self._run(lambda: samples_in_turn(kernels, protocol, message["rounds"], message["least"]))
        self._check_after()
        return {"samples_s": samples}

    def beside(self, message: Message) -> Message:
        """Builds a kernel of another task, to be timed in turn with this one's; its result is not looked at."""
        task = structure(message["task"], Task)
        self._kernels.append(build_kernel(structure(message["schedule"], Schedule), task, loaded_buffers(task)))
        return {"kernel": len(self._kernels) - 1}

    def _check_after(self) -> None:
        """The timed calls left everything as it was."""
        self._check_guards()
        if not self._cpus:
            return
        try:
            check_pinned(self._cpus)
        except MeasureError as error:
            raise CandidateError("crash", f"the kernel moved or started threads: {error}") from error

    def _run(self, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except (MemoryError, *TVM_ERRORS) as error:
            raise CandidateError(_kind_of(error, "crash"), f"the kernel stopped: {useful_line(error)}") from error


def _kind_of(error: BaseException, kind: str) -> str:
    text = f"{type(error).__name__}: {error}".lower()
    return "out_of_memory" if any(word in text for word in OUT_OF_MEMORY_WORDS) else kind


def _plain(wrong: Mismatch) -> Message:
    return {"output": wrong.output, "positions": list(wrong.positions), "found": list(wrong.found)}


def named(name: str) -> Any:
    """What ``package.module:name`` is: a builder, or a class of workers."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
