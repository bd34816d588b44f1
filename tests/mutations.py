"""One thing of a spec changed at random: a number, a name, an order, a dtype, a node of an expression, a whole record.

Works on the JSON value of any record, so that words added to the language are mutated without a line here. What comes
out may be nonsense; the loader must refuse it in one sentence, or it is a task and a schedule for it.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from autosched.spec.dtypes import DTYPES
from autosched.spec.errors import SpecError
from autosched.spec.expr import (
    COMPARE_OPS,
    Axis,
    Binary,
    Cast,
    Compare,
    Const,
    Expr,
    If,
    Load,
    Logic,
    Select,
    children,
    walk,
    with_children,
)
from autosched.spec.expr_text import expr_from_text, text_from_expr
from autosched.spec.schedule import BINDINGS, TAILS
from autosched.spec.workload import REDUCERS

if TYPE_CHECKING:
    import random

_AXIS: Final = re.compile(r"([A-Za-z_][\w.]*): (\d+)\Z")
_WORDS: Final = (tuple(DTYPES), TAILS, BINDINGS, REDUCERS)
"""Closed sets of words: one of a set becomes another of it."""
_EXPRESSIONS: Final = frozenset({"body", "init", "load"})
_SAFE_OPS: Final = ("add", "sub", "mul", "min", "max")
"""Operators with a value for any operands: a division by what may be 0 is the workload's own fault."""


@attrs.frozen
class Slot:
    """A place in a JSON value: an entry of an object or a list, and the key that it belongs to."""

    holder: Any
    key: Any
    field: str

    @property
    def value(self) -> Any:
        return self.holder[self.key]


def mutated(content: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A copy of a spec file's value with one thing changed; the format and the version stay."""
    content = copy.deepcopy(content)
    part = rng.choice([content["schedule"], content["schedule"], content["task"]["workload"], content["task"]])
    slots = _slots(part)
    fields = sorted({slot.field for slot in slots})
    for _ in range(20):
        # By field first: an expression or a name must not drown a lone binding.
        field = rng.choice(fields) if fields else ""
        here = [slot for slot in slots if slot.field == field]
        if here and _change(rng.choice(here), content, rng):
            return content
    return content


def _slots(value: Any, field: str = "") -> list[Slot]:
    found: list[Slot] = []
    if isinstance(value, dict):
        for key, entry in value.items():
            found += [Slot(value, key, key), *_slots(entry, key)]
    elif isinstance(value, list):
        for position, entry in enumerate(value):
            found += [Slot(value, position, field), *_slots(entry, field)]
    return found


def _change(slot: Slot, content: dict[str, Any], rng: random.Random) -> bool:
    """Changes what stands at a slot; False where nothing of the kind drawn can be done."""
    value = slot.value
    if isinstance(slot.holder, dict) and rng.random() < 0.1:
        return _other_keys(slot, content, rng)
    if isinstance(value, bool):
        slot.holder[slot.key] = not value
    elif isinstance(value, int):
        slot.holder[slot.key] = _number(value, content, rng)
    elif isinstance(value, str):
        slot.holder[slot.key] = _text(slot, content, rng)
    elif isinstance(value, list):
        return _list(slot, content, rng)
    elif isinstance(value, dict):
        return _whole_record(slot, content, rng)
    else:
        return False
    return type(slot.value) is not type(value) or bool(slot.value != value)


def _number(value: int, content: dict[str, Any], rng: random.Random) -> int:
    near = [value + 1, value - 1, value * 2, value // 2, value + rng.randint(1, 9), -value, 0, 1]
    others = [slot.value for slot in _slots(content) if type(slot.value) is int]
    return int(rng.choice([*near, *near, rng.choice([*others, 1]), 2**31 - 1, 2**31, 2**63]))


def _text(slot: Slot, content: dict[str, Any], rng: random.Random) -> str:
    value: str = slot.value
    axis = _AXIS.match(value)
    if axis is not None:
        other = [s.value for s in _slots(content["task"]["workload"], "") if s.field in ("axes", "reduce")]
        names = [found[1] for text in other if isinstance(text, str) and (found := _AXIS.match(text))]
        extent = _number(int(axis[2]), content, rng)
        return rng.choice([f"{axis[1]}: {extent}", f"{axis[1]}: {extent}", f"{rng.choice(names)}: {axis[2]}"])
    if slot.field in _EXPRESSIONS:
        return _expression_text(value, content, rng)
    for words in _WORDS:
        if value in words:
            return str(rng.choice(words))
    return str(rng.choice([*_texts(content, slot.field), *_texts(content, slot.field), *_names(content), value + "x"]))


def _texts(content: dict[str, Any], field: str) -> list[str]:
    """The texts that stand elsewhere under the same key."""
    return [slot.value for slot in _slots(content) if slot.field == field and isinstance(slot.value, str)]


def _names(content: dict[str, Any]) -> list[str]:
    """Every name in a spec, of whatever kind."""
    texts = {slot.value for slot in _slots(content) if isinstance(slot.value, str) and slot.field not in _EXPRESSIONS}
    return sorted(_AXIS.sub(r"\1", text) for text in texts)


def _list(slot: Slot, content: dict[str, Any], rng: random.Random) -> bool:
    items: list[Any] = slot.value
    kind = rng.choice(["swap", "swap", "drop", "twice", "reverse", "borrow", "move"])
    if kind == "borrow":
        there = [s.value for s in _slots(content) if s.field == slot.field and isinstance(s.value, list) and s.value]
        if not there:
            return False
        items.insert(rng.randint(0, len(items)), copy.deepcopy(rng.choice(rng.choice(there))))
        return True
    if not items:
        return False
    before = list(items)
    place, other = rng.randrange(len(items)), rng.randrange(len(items))
    match kind:
        case "swap":
            items[place], items[other] = items[other], items[place]
        case "move":
            items.insert(other, items.pop(place))
        case "drop":
            del items[place]
        case "twice":
            items.insert(other, copy.deepcopy(items[place]))
        case "reverse":
            items.reverse()
    return items != before


def _other_keys(slot: Slot, content: dict[str, Any], rng: random.Random) -> bool:
    """An entry of an object taken away, or one that a like object has put in."""
    if rng.random() < 0.4:
        del slot.holder[slot.key]
        return True
    alike = [s.holder for s in _slots(content) if isinstance(s.holder, dict) and s.field == slot.field]
    given = [(key, value) for holder in alike for key, value in holder.items()]
    key, value = rng.choice(given)
    if slot.holder.get(key) == value:
        return False
    slot.holder[key] = copy.deepcopy(value)
    return True


def _whole_record(slot: Slot, content: dict[str, Any], rng: random.Random) -> bool:
    """An object replaced by another one that stands under the same key."""
    alike = [s.value for s in _slots(content) if s.field == slot.field and isinstance(s.value, dict)]
    other = rng.choice(alike)
    if other == slot.value:
        return False
    slot.holder[slot.key] = copy.deepcopy(other)
    return True


# --- expressions ------------------------------------------------------------------------------------------------------


def _expression_text(text: str, content: dict[str, Any], rng: random.Random) -> str:
    try:
        node = expr_from_text(text)
    except SpecError:
        return text + " + 1"
    return text_from_expr(changed_node(node, _names(content), rng))


def changed_node(root: Expr, names: list[str], rng: random.Random) -> Expr:
    """The tree with one of its nodes changed."""
    nodes = list(walk(root))
    target = rng.randrange(len(nodes))
    count = -1

    def visit(node: Expr) -> Expr:
        nonlocal count
        rebuilt = with_children(node, tuple(visit(child) for child in children(node)))
        count += 1
        return _other_node(rebuilt, names, rng) if count == target else rebuilt

    return visit(root)


def _other_node(node: Expr, names: list[str], rng: random.Random) -> Expr:
    match node:
        case Axis(name):
            return rng.choice([Axis(rng.choice(names)), Const("index", "0"), Binary("add", Axis(name), _ONE)])
        case Const(dtype, text):
            return _other_constant(dtype, text, rng)
        case Load(buffer, indices):
            shuffled = tuple(rng.sample(indices, len(indices)))
            return rng.choice([Load(rng.choice(names), indices), Load(buffer, shuffled), Load(buffer, indices[1:])])
        case Cast(_, value):
            return rng.choice([Cast(rng.choice(sorted(DTYPES)), value), value])
        case Binary(op, a, b) if op in _SAFE_OPS:
            return rng.choice([Binary(rng.choice(_SAFE_OPS), a, b), Binary(op, b, a), a, b])
        case Compare(_, a, b):
            return rng.choice([Compare(rng.choice(COMPARE_OPS), a, b), Compare(rng.choice(COMPARE_OPS), b, a)])
        case Logic(op, (a, b)):
            return rng.choice([Logic("or" if op == "and" else "and", (a, b)), a, b, Logic("not", (a,))])
        case If(cond, a, b) | Select(cond, a, b):
            return rng.choice([Select(cond, a, b), If(cond, a, b), If(cond, b, a), a, b])
    inner = children(node)
    return rng.choice(inner) if inner else node


_ONE: Final = Const("index", "1")


def _other_constant(dtype: str, text: str, rng: random.Random) -> Const:
    if rng.random() < 0.2:
        return Const(rng.choice(sorted(DTYPES)), text)
    try:
        value = int(text)
    except ValueError:
        return Const(dtype, rng.choice(["0.0", "1.0", "-2.5", "inf", "-inf"]))
    return Const(dtype, str(rng.choice([value + 1, value - 1, 0, -value, 2 * value, 2**31, 2**63])))
