"""One work, all contenders: their kernels checked against one reference, then timed in turn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np

from ..search.peak import peak_flops, peak_schedule, peak_task
from ..search.pinning import cpus_for
from ..search.reference import Reference, load_outputs
from ..spec.errors import MeasureError
from ..spec.spec_file import SpecFile, save_spec
from .contenders import EXAMPLE, OURS, Child
from .opened import ArrayFile, Order
from .rounds import Samples, Seat, joined, take_rounds
from .works import Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..spec.task import Task
    from .contenders import Contender
    from .suite import Ground

PEAK: Final = "peak"
TUNED: Final = "tuned"


@attrs.frozen(kw_only=True)
class Match:
    """What came of it: samples by label, in all sessions, and threads that computed, the fewest of any session.

    Labels are our kernels' names, `peak`, and the names of peers; where a peer has several kernels, the others are
    ``PEER KERNEL``. `peak_gflop` is what one call of the peak computes. `left_out` says why, by the name of a peer that
    searched and whose kernel did not load or gives wrong numbers.
    """

    work: Work
    samples: Samples
    threads: dict[str, int]
    peak_gflop: float
    left_out: dict[str, str] = attrs.field(factory=dict)

    def has(self, label: str) -> bool:
        """True where that contender took part."""
        return label in self.samples


def play(ground: Ground, work: Work, specs: Mapping[str, Path], extra: Sequence[Contender] = ()) -> Match:
    """Times our kernels, one for each of `specs`, the multiply-add peak and the peers that have the operator.

    MeasureError where a contender gives wrong numbers, unless it is one whose own search found the kernel: that one is
    left out. Peers that search, and have not, sit out.
    """
    ours = {**specs, PEAK: peak_spec(ground)}
    peers = [peer for peer in (*ground.peers, *extra) if _takes_part(peer, work)]
    sessions: list[Samples] = []
    threads: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for number in range(ground.sessions):
        ground.say(f"{work.name}: timing in turn, session {number + 1} of {ground.sessions}")
        samples, counted = _session(ground, work, ours, [p for p in peers if p.name not in left_out], left_out)
        sessions.append(samples)
        threads = {label: min(count, threads.get(label, count)) for label, count in counted.items()}
    for label, count in threads.items():
        if count != ground.options.threads:
            ground.note(f"{work.name}: {label} computed on {count} of {ground.options.threads} threads")
    gflop = peak_flops(peak_task(ground.options.threads)) / 1e9
    present = [{label: s for label, s in session.items() if label not in left_out} for session in sessions]
    return Match(work=work, samples=joined(present), threads=threads, peak_gflop=gflop, left_out=left_out)


def _takes_part(peer: Contender, work: Work) -> bool:
    """True for who has the operator, and a kernel of it."""
    return (not peer.operators or work.op in peer.operators) and (not peer.searches or bool(peer.found))


def peak_spec(ground: Ground) -> Path:
    """The spec file of the multiply-add peak."""
    path = ground.folder / "peak.json"
    save_spec(SpecFile(task=peak_task(ground.options.threads), schedule=peak_schedule()), path)
    return path


def _session(
    ground: Ground, work: Work, specs: Mapping[str, Path], peers: Sequence[Contender], left_out: dict[str, str]
) -> tuple[Samples, dict[str, int]]:
    """Fresh processes for all, and one sample of each kernel in turn; with it the threads that compute in each."""
    seats: list[Seat] = []
    threads: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(Child(c, ground.options.threads, ground.folder)) for c in (OURS, *peers)]
        order, reference = make_order(ground, work, specs)
        for child in children:
            try:
                opened = _opened(ground, work, child, order, reference)
            except MeasureError as error:
                if not child.searches:
                    raise
                left_out[child.name] = str(error)
                continue
            seats += opened
            threads |= {seat.label: count for seat, count in opened.items()}
        samples, restless = take_rounds(_spaced(seats), ground.rounds, ground.sample_s, ground.lock.timing)
    if restless:
        ground.note(f"{work.name}: {restless} samples began while another contender was not idle yet")
    return samples, threads


def _opened(ground: Ground, work: Work, child: Child, order: Order, reference: Path) -> dict[Seat, int]:
    """A contender's kernels, all checked against the reference, each with how many threads compute in it."""
    # Alone, as in the rounds: who computes is found by who uses the CPUs.
    with ground.lock.timing():
        opened = child.open(order, ground.burst_s)
    seats = {}
    for number, (kernel, count) in enumerate(opened["threads"].items()):
        label = kernel if child.name == OURS.name else f"{child.name} {kernel}" if number else child.name
        seats[Seat(label=label, child=child, kernel=kernel)] = count
        if label != PEAK:
            _check(ground, work.task(ground.options.threads), reference, child, kernel)
    child.settle()  # the first sample is somebody else's, and pools of threads spin after the check too
    return seats


def _spaced(seats: Sequence[Seat]) -> list[Seat]:
    """The order of a round: ours and each peer stand next to one another, then the peak, then the rest."""
    rank = {TUNED: 0, EXAMPLE.name: 1, "torch": 2, PEAK: 3}
    return sorted(seats, key=lambda seat: rank.get(seat.label, len(rank)))


def reference_folder(ground: Ground, work: Work) -> Path:
    """The folder of a work's inputs and expected outputs, which need not be there yet."""
    return ground.folder / f"reference-{work.file_name}"


def make_order(ground: Ground, work: Work, specs: Mapping[str, Path]) -> tuple[Order, Path]:
    """What every contender is told, and the folder of inputs and expected outputs: those of the search's reference."""
    task = work.task(ground.options.threads)
    folder = reference_folder(ground, work)
    if not folder.exists():
        folder.mkdir()
        Reference(task, folder).write()
    workload = task.workload
    inputs = [
        ArrayFile(path=str(folder / f"input{number}.npy"), shape=list(buffer.shape), dtype=buffer.dtype)
        for number, buffer in enumerate(workload.inputs)
    ]
    result = workload.buffers[workload.outputs[0]]
    order = Order(
        op=work.op,
        args=work.all_args(),
        inputs=inputs,
        output=ArrayFile(path="", shape=list(result.shape), dtype=result.dtype),
        threads=task.threads,
        cpus=list(cpus_for(task.threads)),
        specs={name: str(path) for name, path in specs.items()},
        store=ground.store,
        found="",
    )
    return order, folder


def _check(ground: Ground, task: Task, reference: Path, child: Child, kernel: str) -> None:
    """MeasureError unless a kernel's output agrees with the reference."""
    path = ground.folder / f"{child.name}.npy"
    child.ask({"do": "save", "kernel": kernel, "path": str(path)})
    (expected,) = load_outputs(task, reference).values()
    found: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
    wrong, _ = expected.mismatch(found)
    if wrong is not None:
        raise MeasureError(f"{child.name} gives wrong numbers: {wrong.text(found.shape)}")
