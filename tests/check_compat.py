"""Try the corpus of spec files on every known pair of TVM and its FFI, and write the table of docs/compatibility.md.

`python tests/check_compat.py BUILD_DIR` (`make compat`). For each pair of `spec/tvm_versions.py`:

- a virtual environment under BUILD_DIR/compat, kept from run to run, holds the project's wheel, TVM, its FFI and the
  other requirements; the wheel is installed without its requirements, for it pins the one TVM that is supported;
- every file of tests/data/specs is checked, lowered, built, run and compared with NumPy (`corpus.py`);
- ``autosched run`` times one, and ``autosched doctor`` knows the pair.

Exit status 1 where a file does not lower or gives wrong numbers; the table then says which.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs
from packaging.requirements import Requirement

from autosched.spec.tvm_versions import DEFAULT, PAIRS
from check_wheel import ROOT, kept_environment, light_requirements, only, read_wheel, run

PAGE: Final = ROOT / "docs" / "compatibility.md"
SPECS: Final = ROOT / "tests" / "data" / "specs"
TIMED: Final = SPECS / "tuned_gemm.json"
KNOWN: Final = {("0.25.0", "gemm_bf16")}
"""What a version cannot do, said in the page: 0.25's passes for bfloat16 lose a buffer that is also used by address."""
ENDED: Final = "the process ended"
LACKS: Final = "which the target lacks"
"""How the compiler says that this machine's CPU has no such instruction."""
UNKNOWN: Final = "lowers, needs another CPU"


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a file on a version of TVM: whether it lowers, whether its numbers are right, what went wrong."""

    lowers: bool
    right: bool
    problem: str = ""

    @property
    def needs_another_cpu(self) -> bool:
        """True where this machine cannot tell: what was found on another one stands."""
        return LACKS in self.problem

    @property
    def mark(self) -> str:
        """The cell of the table."""
        if self.lowers and self.needs_another_cpu:
            return UNKNOWN
        if self.lowers and self.problem.startswith("the compiler refused"):
            return "lowers, does not build"
        return "right" if self.right else "lowers, wrong" if self.lowers else "does not lower"


def main(build_dir: Path) -> int:
    """Try every file on every version; returns the exit status."""
    dist = build_dir / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist), cwd=ROOT)
    wheel = only(dist, "*.whl")
    files = sorted(path for path in SPECS.glob("*.json"))
    found: dict[str, dict[str, Outcome]] = {}
    problems = []
    for tvm, ffi in [(tvm, ffi) for tvm, ffis in PAIRS.items() for ffi in ffis]:
        pair = f"TVM {tvm}, FFI {ffi}"
        python = environment(wheel, tvm, ffi, build_dir / "compat" / f"{tvm}_{ffi}")
        found[pair] = try_files(python, files)
        wrong = [
            name
            for name, outcome in found[pair].items()
            if not (outcome.right or outcome.needs_another_cpu or (tvm, name) in KNOWN)
        ]
        problems += [f"{pair}, {name}: {found[pair][name].problem}" for name in wrong]
        problems += [f"{pair}, {problem}" for problem in try_commands(python)]
        print(f"{pair}: {sum(o.right for o in found[pair].values())} of {len(files)} right", flush=True)
    before = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_text(before, table(files, found, cells_of(before))), encoding="utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def environment(wheel: Path, tvm: str, ffi: str, folder: Path) -> Path:
    """The Python of an environment with the wheel and this pair."""
    requirements = [f"apache-tvm=={tvm}", f"apache-tvm-ffi=={ffi}", *light_requirements(read_wheel(wheel))]
    assert not any(Requirement(each).name == "autosched" for each in requirements)
    return kept_environment(wheel, requirements, folder)


def try_files(python: Path, files: list[Path]) -> dict[str, Outcome]:
    """The outcome of each file, by its name; a file that ends the process is tried no more, those after it are."""
    found: dict[str, Outcome] = {}
    while waiting := [path for path in files if path.stem not in found]:
        done = answer(python, str(ROOT / "tests" / "corpus.py"), *map(str, waiting))
        begun = ""
        for line in done.stdout.splitlines():
            said = json.loads(line)
            if "begins" in said:
                begun = Path(said["begins"]).stem
            else:
                name = Path(said.pop("file")).stem
                found[name] = Outcome(**said)
        if not begun:
            raise SystemExit(f"check_compat: nothing was tried with {python}\n{done.stderr}")
        if begun not in found:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            found[begun] = Outcome(lowers=False, right=False, problem=f"{ENDED} with {done.returncode}: {last}")
    return found


def try_commands(python: Path) -> list[str]:
    """What is wrong with the commands that a spec file is sent to, one line each."""
    problems = []
    for command in (("run", str(TIMED), "--json"), ("doctor", "--no-peak", "--store", str(python.parent / "store"))):
        done = answer(python.parent / "autosched", *command)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or [""]
            problems.append(f"autosched {command[0]} exited with {done.returncode}: {said[-1]}")
    return problems


def answer(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a program of an environment says, with nothing of ours on its path but the wheel."""
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return subprocess.run(
        [str(program), *words], cwd=program.parent, env=clean, capture_output=True, text=True, check=False
    )


def cells_of(page: str) -> dict[tuple[str, str], str]:
    """The cells of the table of features in a page, by feature and pair."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    begin = next((number for number, row in enumerate(rows) if row[0] == "feature"), len(rows))
    return {
        (row[0].strip("`"), pair): cell for row in rows[begin:] for pair, cell in zip(rows[begin], row, strict=True)
    }


def table(files: list[Path], found: dict[str, dict[str, Outcome]], before: dict[tuple[str, str], str]) -> str:
    """The table in Markdown: a row for each feature, a column for each pair, and the sums.

    What needs another CPU keeps the cell of the table `before`, where it has one.
    """
    marks = {
        (path.stem, pair): before.get((path.stem, pair), UNKNOWN) if outcome.mark == UNKNOWN else outcome.mark
        for path in files
        for pair, outcome in ((pair, outcomes[path.stem]) for pair, outcomes in found.items())
    }
    rows = [["feature", *found], ["---"] * (len(found) + 1)]
    rows += [[f"`{path.stem}`", *(marks[path.stem, pair] for pair in found)] for path in files]
    rights = [sum(marks[path.stem, pair] == "right" for path in files) for pair in found]
    rows.append(["**right, of all**", *(f"**{right} of {len(files)}**" for right in rights)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


BEGIN: Final = "<!-- written by make compat -->"
END: Final = "<!-- to here -->"


def page_text(before: str, made: str) -> str:
    """The page with a new table in its place."""
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{pairs_text()}\n\n{made}\n\n{END}{tail}"


def pairs_text() -> str:
    """The pairs in Markdown."""
    rows = [
        f"| {tvm} | {', '.join(ffis)} | {'installed with autosched' if tvm == DEFAULT else 'lowers, builds, runs'} |"
        for tvm, ffis in PAIRS.items()
    ]
    return "\n".join(["| apache-tvm | apache-tvm-ffi | |", "| --- | --- | --- |", *rows])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
