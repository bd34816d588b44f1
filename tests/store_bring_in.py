"""A folder of spec files from strangers, some of them bad, taken into a store."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from autosched.sharing import import_specs
from autosched.spec.spec_file import save_spec
from autosched.store.claims import spec_from_record
from autosched.store.records import CLAIMED
from autosched.store.store import Store
from store_cases import MACHINE, gemm, record, tiled, timed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from autosched.store.records import Record

FACTORS: Final = (2, 4, 8, 16)

DAMAGE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "cut short": lambda whole: whole[: len(whole) // 2],
    "of a later version": lambda whole: whole.replace(b'"version": ', b'"version": 9', 1),
    "with a key twice": lambda whole: whole.replace(b"{", b'{"schedule": {}, ', 1),
    "with a time that is no number": lambda whole: whole.replace(b'"samples_s": [', b'"samples_s": [NaN, ', 1),
    "of nothing but brackets": lambda _: b"[" * 100_000,
    "a pickle": pickle.dumps,
    "with an unknown word": lambda whole: whole.replace(b'"nests"', b'"nest"', 1),
    "with a factor that does not fit": lambda whole: whole.replace(b'"factors": [', b'"factors": [7, ', 1),
    "not text": lambda whole: b"\xff\xfe" + whole,
}
"""What is wrong with a bad file → how a good one becomes that."""


@attrs.frozen(kw_only=True)
class BroughtIn:
    """What came of it: files taken and refused, seconds, and whatever is not as it should be."""

    taken: int
    refused: int
    seconds: float
    wrong: list[str]


def good(number: int) -> Record:
    """A record with a task and a schedule of its own."""
    extent, factor = 16 * (1 + number // len(FACTORS)), FACTORS[number % len(FACTORS)]
    return record(timed(1e-5 * (number + 1)), task=gemm(extent=extent), schedule=tiled(factor=factor, extent=extent))


def run(folder: Path, files: int, rng: random.Random) -> BroughtIn:
    """Imports `files` spec files, of which each kind of `DAMAGE` spoils one, and looks at what is in the store then."""
    specs = folder / "specs"
    specs.mkdir()
    spoiled = dict(zip(rng.sample(range(files), len(DAMAGE)), DAMAGE.items(), strict=True))
    for number in range(files):
        path = specs / f"{number:05}.json"
        save_spec(spec_from_record(good(number)), path)
        if number in spoiled:
            _, damage = spoiled[number]
            whole = path.read_bytes()
            path.write_bytes(damage(whole))
            assert path.read_bytes() != whole
    with Store(folder / "store") as store:
        begin = time.monotonic()
        found = import_specs(specs, store=store)
        seconds = time.monotonic() - begin
        wrong = _not_as_listed(store, files, spoiled)
    refused = {Path(each.path).stem: each.text for each in found.refused}
    wrong += [f"{what} and not refused" for number, (what, _) in spoiled.items() if f"{number:05}" not in refused]
    wrong += [f"refused: {text}" for stem, text in refused.items() if int(stem) not in spoiled]
    return BroughtIn(taken=found.files, refused=len(found.refused), seconds=seconds, wrong=wrong)


def _not_as_listed(store: Store, files: int, spoiled: dict[int, tuple[str, Callable[[bytes], bytes]]]) -> list[str]:
    """Good files that the store does not know as claims, bad ones that it knows."""
    wrong = []
    for number in range(files):
        made = good(number)
        known = store.get(made.task, made.schedule, MACHINE)
        if number in spoiled:
            wrong += [f"{spoiled[number][0]}, and known"] if known is not None else []
        elif known is None or {each.origin for each in known.measurements} != {CLAIMED}:
            wrong.append(f"{number} is no claim")
    return wrong
