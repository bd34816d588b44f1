"""Fill `.editable/autosched/` with links: one per file of api/, one per other folder of the package.

Hatchling calls the hook at an editable install. `python hatch_build.py` (or `make links`) refreshes the links
when a file was added to api/ or taken away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

FOLDERS = ("spec", "store", "search", "nn", "bench")


def link_package(root: Path) -> None:
    """Make the links below `root` agree with its folders, touching only those which differ."""
    package = root / ".editable" / "autosched"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {entry.name: entry for entry in (root / "api").iterdir() if entry.name != "__pycache__"}
    for folder in FOLDERS:
        if folder in wanted or f"{folder}.py" in wanted:
            raise SystemExit(f"api/{folder}.py would hide the folder {folder}/; give it another name")
        wanted[folder] = root / folder
    for link in package.iterdir():
        if link.is_symlink() and link.name not in wanted:
            link.unlink(missing_ok=True)
    for name, source in sorted(wanted.items()):
        link = package / name
        target = Path("..", "..", source.relative_to(root))
        if not (link.is_symlink() and link.readlink() == target):
            fresh = package.parent / f"{name}.{os.getpid()}"  # then renamed: several installs may run at once
            fresh.symlink_to(target)
            fresh.replace(link)


def get_build_hook() -> type:
    """Return the hook's class; imports hatchling here so that the links can be refreshed without it."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class LinkHook(BuildHookInterface):  # type: ignore[type-arg]
        def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's names
            if version == "editable":
                link_package(Path(self.root))

    return LinkHook


if __name__ == "__main__":
    link_package(Path(__file__).resolve().parent)
