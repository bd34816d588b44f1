"""Build the sdist and the wheel, look inside both, and use the wheel in a clean environment without TVM.

`python tests/check_wheel.py BUILD_DIR` (`make wheel`). What is proven:

- the wheel holds each file of the six folders at its place under `autosched/`, and nothing else;
- the sdist holds what is needed to build, and the wheel built from it is the same file for file;
- installed where there is no TVM, `autosched`, `autosched.spec` and `autosched.store` import, and the command
  line answers `--help`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("api", "spec", "store", "search", "nn", "bench")
DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
SDIST_NEEDS = {"pyproject.toml", "hatch_build.py", "PKG-INFO", "LICENSE", "tests/check_wheel.py"}
HEAVY = {"apache-tvm", "apache-tvm-ffi"}
LIGHT_IMPORTS = """
import importlib.util, sys
assert importlib.util.find_spec("tvm") is None, "this environment should not have TVM"
import autosched, autosched.spec, autosched.store
assert autosched.__file__.startswith(sys.prefix), autosched.__file__
"""


def main(build_dir: Path) -> None:
    """Run every check; raises SystemExit with the reason at the first that fails."""
    dist = build_dir / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "hatchling", "build", "-d", str(dist), cwd=ROOT)
    wheel, sdist = only(dist, "*.whl"), only(dist, "*.tar.gz")
    contents = read_wheel(wheel)
    check_wheel(contents)
    check_sdist(sdist, contents, build_dir / "from_sdist")
    check_installed(wheel, light_requirements(contents), build_dir / "clean")
    print(f"{wheel.name}: {len(contents)} files, the same from {sdist.name}, works without TVM")


def check_wheel(contents: dict[str, bytes]) -> None:
    """Compare with the folders of the checkout, both ways."""
    package = {name for name in contents if ".dist-info/" not in name}
    expected = {
        "/".join(("autosched", *path.relative_to(ROOT / layer if layer == "api" else ROOT).parts))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    check_same("the wheel", package, expected)
    info = {name.split(".dist-info/")[1] for name in contents if ".dist-info/" in name}
    check_same("the wheel's dist-info", info, DIST_INFO)


def check_sdist(sdist: Path, contents: dict[str, bytes], work: Path) -> None:
    """Build a wheel from the unpacked sdist; it must equal the one from the checkout."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(work, filter="data")
    (source,) = work.iterdir()
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    check(names >= SDIST_NEEDS, f"the sdist lacks {sorted(SDIST_NEEDS - names)}")
    hidden = sorted(name for name in names if name.startswith(".") and name != ".gitignore")
    check(not hidden, f"the sdist holds {hidden[:5]}")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / "dist"), cwd=source)
    again = read_wheel(only(work / "dist", "*.whl"))
    check_same("the sdist's wheel", set(again), set(contents))
    different = sorted(name for name in contents if again[name] != contents[name])
    check(not different, f"the sdist's wheel differs in {different}")


def check_installed(wheel: Path, requirements: list[str], environment: Path) -> None:
    """Install the wheel without TVM and use it."""
    python = kept_environment(wheel, requirements, environment)
    run(str(python), "-I", "-W", "error", "-c", LIGHT_IMPORTS, cwd=environment)
    run(str(environment / "bin" / "autosched"), "--help", cwd=environment)


def kept_environment(wheel: Path, requirements: list[str], environment: Path) -> Path:
    """The Python of an environment with the requirements and this wheel; kept until the requirements change."""
    stamp = environment / hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:16]
    python = environment / "bin" / "python"
    pip = (str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    if not stamp.exists():
        shutil.rmtree(environment, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(environment))
        run(*pip, *requirements)
        stamp.touch()
    run(*pip, "--no-deps", "--force-reinstall", str(wheel))
    return python


def light_requirements(contents: dict[str, bytes]) -> list[str]:
    """What the wheel asks for without extras, less TVM."""
    (metadata,) = (text for name, text in contents.items() if name.endswith(".dist-info/METADATA"))
    lines = Parser().parsestr(metadata.decode()).get_all("Requires-Dist", [])
    wanted = [Requirement(line) for line in lines]
    plain = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return sorted(str(each) for each in plain if each.name not in HEAVY)


def read_wheel(wheel: Path) -> dict[str, bytes]:
    """Return the contents of each file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def only(folder: Path, pattern: str) -> Path:
    """Return the one file that fits."""
    found = sorted(folder.glob(pattern))
    check(len(found) == 1, f"{folder} should hold one {pattern}, holds {len(found)}")
    return found[0]


def check_same(what: str, found: set[str], expected: set[str]) -> None:
    """Fail with both differences."""
    check(
        found == expected,
        f"{what} lacks {sorted(expected - found)[:5]} and has {sorted(found - expected)[:5]} too many",
    )


def check(fulfilled: bool, message: str) -> None:
    """Stop here with the message unless fulfilled."""
    if not fulfilled:
        raise SystemExit(f"check_wheel: {message}")


def run(*command: str, cwd: Path | None = None) -> None:
    """Run quietly; on failure show what the command said and stop."""
    # A PYTHONPATH or an activated environment must not lend its packages to the clean one.
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
