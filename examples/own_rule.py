"""A rule of one's own: another knob, how far LLVM's automatic unrolling goes in every nest of a tiled reduction."""

from __future__ import annotations

import attrs

import autosched as at
from autosched.search.knobs import Knob
from autosched.search.rule import Rule
from autosched.search.rules import RULES


class UnrollLimit(Rule):
    """Offers 0, 16 or 64; reached as the knob ``stage/unroll_limit``."""

    def knobs(self, reduction, layout, found):
        return (*found, Knob(name="unroll_limit", values=(0, 16, 64))) if layout else found

    def schedule(self, task, values, made):
        limit = max((value for name, value in values.items() if name.endswith("/unroll_limit")), default=0)
        return attrs.evolve(made, nests=tuple(attrs.evolve(nest, unroll_limit=limit) for nest in made.nests))


if __name__ == "__main__":
    result = at.lookup_or_tune(at.get_task("gemm", M=256, N=256, K=256), trials=8, rules=(*RULES, UnrollLimit()))
    print(f"{result.latency_s * 1e6:.0f} µs, unroll limits {[nest.unroll_limit for nest in result.schedule.nests]}")
