"""Reads docs/language.md: its fenced blocks, and the examples that they make.

| fence | what the block is |
|---|---|
| ```` ```json file NAME ```` | a whole spec file |
| ```` ```json workload NAME ```` | a workload; the next ``text`` block is its plain loops |
| ```` ```json NAME of WORKLOAD ```` | a schedule; the next ``text`` block is its loops |
| ```` ```json NAME of WORKLOAD constant W ```` | the same, for a task whose input W is constant |
| ```` ```json NAME of WORKLOAD for cuda ```` | the same, for a GPU |
| ```` ```json wrong NAME of WORKLOAD ```` | a schedule that does not fit; the next ``text`` block is the message |
| ```` ```text ```` | what the block before it prints |
| ```` ```python ```` | doctest, all of the page in one namespace |
| ```` ```console ```` | commands after ``$``, run in a folder that has the files, and what they print |
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

PAGE = Path(__file__).resolve().parent.parent / "docs" / "language.md"
_FENCE = re.compile(r"^```(?P<info>[^`\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INFO = re.compile(
    r"json (file (?P<file>\S+)|workload (?P<workload>\S+)|(?P<wrong>wrong )?(?P<example>[a-z-]+) of (?P<on>\S+)"
    r"( constant (?P<constant>\S+))?( for (?P<target>\S+))?)"
)


@attrs.frozen(kw_only=True)
class Block:
    """A fenced block: the words after the fence, what is in it, and its line in the page."""

    info: str
    text: str
    line: int


@attrs.frozen(kw_only=True)
class Example:
    """A workload or schedule of the page and what the page says that it prints."""

    name: str
    on: str
    source: str
    printed: str
    wrong: bool = False
    constants: tuple[str, ...] = ()
    target: str = "llvm"


@attrs.define(kw_only=True)
class Page:
    """All that the page shows."""

    files: dict[str, str] = attrs.field(factory=dict)
    workloads: dict[str, Example] = attrs.field(factory=dict)
    examples: dict[str, Example] = attrs.field(factory=dict)
    consoles: list[Block] = attrs.field(factory=list)
    pythons: list[Block] = attrs.field(factory=list)

    @property
    def right(self) -> list[Example]:
        """The schedules that fit."""
        return [example for example in self.examples.values() if not example.wrong]

    @property
    def mistaken(self) -> list[Example]:
        """The schedules that do not."""
        return [example for example in self.examples.values() if example.wrong]


def blocks(text: str) -> list[Block]:
    """The fenced blocks in their order."""
    return [
        Block(info=found["info"], text=found["text"], line=text.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(text)
    ]


def read_page(text: str | None = None) -> Page:
    """The page; AssertionError where a block is of no kind that is run, or two examples share a name."""
    page, waiting = Page(), blocks(PAGE.read_text(encoding="utf-8") if text is None else text)
    while waiting:
        block = waiting.pop(0)
        if block.info == "python":
            page.pythons.append(block)
        elif block.info == "console":
            page.consoles.append(block)
        else:
            _add_json(page, block, waiting)
    return page


def _add_json(page: Page, block: Block, waiting: list[Block]) -> None:
    where = f"{PAGE.name}:{block.line}"
    info = _INFO.fullmatch(block.info)
    assert info, f"{where}: nothing runs a block of {block.info!r}"
    if info["file"]:
        page.files[info["file"]] = block.text
        return
    assert waiting, f"{where}: no text after it says what it prints"
    assert waiting[0].info == "text", f"{where}: no text after it says what it prints"
    printed = waiting.pop(0).text
    name = info["workload"] or (info["wrong"] or "") + info["example"]
    kept = page.workloads if info["workload"] else page.examples
    assert name not in kept, f"{where}: a second {name}"
    kept[name] = Example(
        name=name,
        on=info["on"] or "",
        source=block.text,
        printed=printed,
        wrong=bool(info["wrong"]),
        constants=(info["constant"],) if info["constant"] else (),
        target=info["target"] or "llvm",
    )


def accept(name: str, kind: str, printed: str) -> None:
    """Writes what an example really prints into the page."""
    text = PAGE.read_text(encoding="utf-8")
    begin = re.search(rf"^```json {re.escape(kind)}\b[^`]*^```\n(?:(?!```).*\n)*```text\n", text, re.MULTILINE)
    assert begin, f"no block {kind!r} of {name!r}"
    end = text.index("\n```\n", begin.end() - 1) + 1
    PAGE.write_text(f"{text[: begin.end()]}{printed}{text[end:]}", encoding="utf-8")
