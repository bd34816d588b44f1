"""``make fuzz``: gives the loader COUNT damaged texts; only a SpecError may come out, in bounded time and memory.

Text n of a seed needs no text before it, so a failure is replayed by its number. Half of the damage is done by
`text_mutations` to texts, half by `mutations` to what they say.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import attrs

from autosched.spec.errors import SpecError
from autosched.spec.spec_file import spec_from_text
from mutations import mutated
from text_mutations import damaged

HERE: Final = Path(__file__).resolve().parent
SLOW_S: Final = 2.0
"""CPU seconds that one text may take."""
MEMORY_BYTES: Final = 2 * 2**30
"""What the process that reads may take in all, half a gigabyte of libraries included."""
SHARE: Final = 250
"""Texts that a process does at a time."""


@attrs.frozen
class Finding:
    """A text that broke the promise."""

    number: int
    what: str
    text: bytes


@attrs.frozen
class Share:
    """What some texts came to."""

    read: int
    refused: int
    slowest_s: float
    findings: tuple[Finding, ...]


def samples() -> tuple[str, ...]:
    """The spec files that damage is done to: good ones, and ones that are refused already."""
    good = sorted((HERE / "data").rglob("*.json"))
    bad = sorted((HERE / "rejected").glob("*.json"))[::7]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in [*good, *good, *good, *bad]]
    return tuple(text for text in texts if 100 < len(text) < 20_000)


def text_of(seed: int, number: int, texts: tuple[str, ...]) -> bytes:
    """Text `number` of a seed."""
    rng = random.Random(f"{seed} {number}")
    if rng.random() < 0.5:
        try:
            content = json.loads(rng.choice(texts))
            for _ in range(rng.randint(1, 3)):
                content = mutated(content, rng)
            return json.dumps(content).encode("utf-8", "surrogatepass")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            pass  # a refused file that is no JSON, or not shaped as one: damage its text
    return damaged(texts, rng)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def run_share(seed: int, numbers: range) -> Share:
    """Reads the texts of these numbers."""
    texts = samples()
    read = refused = 0
    slowest = 0.0
    findings = []
    for number in numbers:
        text = text_of(seed, number, texts)
        began = time.process_time()
        try:
            spec_from_text(text)
            read += 1
        except SpecError:
            refused += 1
        except Exception as error:  # noqa: BLE001 # that is what is looked for
            findings.append(Finding(number, f"{type(error).__name__}: {str(error)[:200]}", text))
        took = time.process_time() - began
        slowest = max(slowest, took)
        if took > SLOW_S:
            findings.append(Finding(number, f"took {took:.1f} s", text))
    return Share(read, refused, slowest, tuple(findings))


def run(seed: int, count: int, jobs: int, seconds: float = math.inf) -> Share:
    """Reads texts 0 to `count` - 1 of a seed on some processes, or fewer if the seconds are over before."""
    until = time.monotonic() + seconds
    done: list[Share] = []
    with ProcessPoolExecutor(jobs, initializer=limit_memory) as pool:
        for first in range(0, count, SHARE * jobs * 4):
            if time.monotonic() > until:
                break
            last = min(first + SHARE * jobs * 4, count)
            shares = [range(begin, min(begin + SHARE, last)) for begin in range(first, last, SHARE)]
            done += pool.map(run_share, [seed] * len(shares), shares)
    return Share(
        sum(share.read for share in done),
        sum(share.refused for share in done),
        max((share.slowest_s for share in done), default=0.0),
        tuple(finding for share in done for finding in share.findings),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so many, whatever COUNT is")
    given = parser.parse_args()
    began = time.monotonic()
    found = run(given.seed, given.count, given.jobs, given.seconds)
    print(
        f"{found.refused + found.read} texts of seed {given.seed}: {found.refused} refused, {found.read} read, "
        f"{len(found.findings)} findings; the slowest took {found.slowest_s:.2f} s; {time.monotonic() - began:.0f} s"
    )
    folder = Path("build/fuzz")
    for finding in found.findings:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"text-{given.seed}-{finding.number}").write_bytes(finding.text)
        print(f"text {finding.number}: {finding.what}")
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(main())
