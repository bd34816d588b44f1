"""Takes out of messages what says who ran them and where: compilers print paths, and stores are shared."""

from __future__ import annotations

import functools
import os
import platform
import re
import tempfile
from pathlib import Path
from typing import Final

MAX_DETAIL: Final = 2000
"""Characters kept of a failure's detail: the beginning names the error, the end what led to it."""

_COMMON: Final = frozenset(("localhost", "host", "root", "home", "user", "users", "tmp", "var", "usr", "opt", "build"))


def scrubbed(text: str) -> str:
    """`text` without home and temporary folders, user name or host name, and not longer than `MAX_DETAIL`."""
    for pattern, replacement in _patterns():
        text = pattern.sub(replacement, text)
    if len(text) <= MAX_DETAIL:
        return text
    half = MAX_DETAIL // 2 - 4
    return f"{text[:half]} [...] {text[-half:]}"


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """What to look for, longest paths first, and what to write instead."""
    home = os.path.expanduser("~")  # noqa: PTH111 # Path.home raises where there is none
    user = Path(home).name
    folders = [(home, "~"), (tempfile.gettempdir(), "/tmp")]  # noqa: S108 # a word for readers
    found = [
        (re.compile(re.escape(folder.rstrip("/\\")) + r"(?=[/\\\s:'\"]|$)"), word)
        for folder, word in sorted(folders, key=lambda item: -len(item[0]))
        if len(folder) > 1
    ]
    found.append((re.compile(r"(?<![\w.])[/\\](?:home|Users)[/\\][^/\\\s:'\"]+"), "~"))
    # Only names that cannot be a word of an error message are looked for everywhere.
    host = platform.node()
    for name, word in ((user, "USER"), (host, "HOST"), (host.partition(".")[0], "HOST")):
        if len(name) > 3 and name.lower() not in _COMMON:
            found.append((re.compile(rf"(?<!\w){re.escape(name)}(?!\w)"), word))
    return tuple(found)
