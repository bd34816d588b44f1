"""What the analytic model and the rules of the space know of a CPU, derived from its fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from ..spec.claim import Machine
    from ..store.speeds import Speeds


@attrs.frozen(kw_only=True)
class Hardware:
    """Per core unless said otherwise; bandwidths in bytes per cycle, caches in bytes.

    `fma_per_cycle` counts full-width vector instructions. The figures order candidates; they predict no exact times.
    """

    vector_bytes: int
    vector_registers: int
    tile_registers: int
    """What a register tile may take of them before LLVM spills: read off its code."""
    broadcasts_in_place: bool = False
    """A multiply-add takes one element of memory for all lanes, so that no register holds the broadcast."""
    gathers: bool = False
    """LLVM reads what lies apart with gathers, where single loads would be faster."""
    fma_per_cycle: float
    pipe_bytes: int
    """Wider instructions are done in pieces of so many bytes, so that vectors of one piece lose nothing."""
    fma_latency: int = 4
    loads_per_cycle: float = 2.0
    """Of one piece at most each, as are stores."""
    stores_per_cycle: float = 1.0
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    l2_bandwidth: float = 32.0
    l3_bandwidth: float = 14.0
    memory_bandwidth: float = 6.0
    """Of the whole socket, in bytes per cycle of one core."""
    l2_latency: float = 25.0
    """Cycles until a line of another page is there from L2: its address comes from the second-level TLB."""
    l3_latency: float = 100.0
    """From L3, likewise: tables are walked, and no prefetcher follows."""
    memory_latency: float = 350.0
    hertz: float = 3.4e9
    threads: int = 1
    region_s: float = 1e-6
    """Cost of starting one parallel loop."""

    def lanes(self, element_bytes: int) -> int:
        """Elements of one full vector."""
        return max(1, self.vector_bytes // element_bytes)

    def whole_vectors(self, lanes: int, element_bytes: int) -> float:
        """How many operations on full vectors take as long as one on so many elements; half of one where pieces pay."""
        return self.pieces(lanes, element_bytes) * self.pipe_bytes / self.vector_bytes

    def pieces(self, lanes: int, element_bytes: int) -> int:
        """In how many pieces so many elements are loaded, stored or computed."""
        return -(-lanes * element_bytes // self.pipe_bytes)


def hardware_from_machine(machine: Machine, threads: int, speeds: Speeds | None = None) -> Hardware:
    """The model's view of a machine; unknown cache sizes become small ones.

    With `speeds`, which ``autosched doctor`` measures, its clock and bandwidths are the machine's own.
    """
    isa = set(machine.isa)
    if "avx512f" in isa:
        # Zen 4 (AMD family 25) runs 512-bit instructions in two halves.
        halves = machine.vendor == "AuthenticAMD" and machine.family == 25
        width, registers, fma, pipe, in_place = 64, 32, 1.0 if halves else 2.0, 32 if halves else 64, True
    elif "avx2" in isa or "avx" in isa:
        width, registers, fma, pipe, in_place = 32, 16, 2.0, 32, False
    elif machine.arch in ("aarch64", "arm64"):
        width, registers, fma, pipe, in_place = 16, 32, 2.0, 16, True
    else:
        width, registers, fma, pipe, in_place = 16, 16, 1.0, 16, False
    hardware = Hardware(
        vector_bytes=width,
        vector_registers=registers,
        tile_registers=registers if registers == 16 else registers - 1,
        broadcasts_in_place=in_place,
        gathers="avx512f" in isa,
        fma_per_cycle=fma,
        pipe_bytes=pipe,
        l1_bytes=machine.l1d_bytes or 32 * 1024,
        l2_bytes=machine.l2_bytes or 256 * 1024,
        l3_bytes=machine.l3_bytes or 4 * 1024 * 1024,
        threads=threads,
    )
    return hardware if speeds is None else _as_measured(hardware, speeds)


def _as_measured(hardware: Hardware, speeds: Speeds) -> Hardware:
    """The clock is that at which the ports would give the multiply-adds that were seen."""
    operations = 2 * hardware.lanes(4) * hardware.fma_per_cycle * speeds.threads
    hertz = speeds.flops / operations
    return attrs.evolve(
        hardware,
        hertz=hertz,
        l2_bandwidth=speeds.l2_bytes / hertz,
        l3_bandwidth=speeds.l3_bytes / hertz,
        memory_bandwidth=speeds.memory_bytes / hertz,
        region_s=speeds.region_s,
    )
