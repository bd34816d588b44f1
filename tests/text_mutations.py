"""Texts for the loader: noise, any JSON, and spec files that were damaged in a few bytes, a token or a construct."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|[][{},:]|\s+', re.DOTALL)
_VALUES: Final = (
    "0", "-1", "1e400", "1e-400", "-0.0", "NaN", "Infinity", "-Infinity", "null", "true", "[]", "{}", '""', '"\\ud800"',
    '"\\u0000"', '"i: 0"', '"i: 99999999999999999999"', '"A[" ', "9" * 19, "9" * 20, "9" * 21, "9" * 5000,
    "1" + "0" * 400,
    '"a.b.c"', '"acc"', '"\u202e"', '"lambda: 0"', '"__import__"', '"x" "y"', "1.5", "0x10", "'a'", "\ufeff",
)  # fmt: skip
_EXPRESSIONS: Final = (
    "(" * 40 + "i" + ")" * 40, "-" * 60 + "i", "i" + " + i" * 3000, "not " * 50 + "i", "A[" * 30 + "i" + "]" * 30,
    "i if i else " * 30 + "i", "min(" * 40 + "i, 1" + ", 1)" * 40, "2 ** 99 ** 99", "float32(1e999)", "int8(-129)",
    "i // 0", "i % 0", "truncdiv(i, 0)", "i << 70", "f(x)(y)", "(i := 3)", "[i for i in i]", "a.__class__", "acc[99]",
    "float32(nan)", "cast(i, i)", "0x7fffffffffffffffffff", "1_000", "i\n", "i;j", "\\", "\x00", "i" * 20000, "é",
    "A[...]",
    "A[i:j]", "A[*i]", "f'{i}'", "...", "await i", "select(i)", "max()", "abs(i, i)", "1j", "True", "None", "'i'",
    "9" * 400,
)  # fmt: skip


def damaged(samples: Sequence[str], rng: random.Random) -> bytes:
    """A text that is, most of the time, nearly a spec file."""
    kind = rng.choice(_KINDS)
    return kind(rng.choice(samples), rng)


def _noise(_: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 3, 20, 300, 5000]))


def _any_json(_: str, rng: random.Random) -> bytes:
    return json.dumps(_value(rng, rng.randint(0, 6))).encode()


def _value(rng: random.Random, depth: int) -> Any:
    words = [
        "format",
        "version",
        "task",
        "schedule",
        "nests",
        "stage",
        "autosched/spec",
        "i: 3",
        "A[i]",
        "",
        "é",
        "\x00",
    ]
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(words),
        lambda: rng.choice([0, 1, -1, 2**31, 2**63, 10**19, 1.5, 1e308, True, None]),
    ]
    if depth:
        kinds += 2 * [
            lambda: [_value(rng, depth - 1) for _ in range(rng.randint(0, 4))],
            lambda: {rng.choice(words): _value(rng, depth - 1) for _ in range(rng.randint(0, 4))},
        ]
    return rng.choice(kinds)()


def _bytes_flipped(text: str, rng: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data))
        match rng.randrange(3):
            case 0:
                data[place] ^= 1 << rng.randrange(8)
            case 1:
                data[place] = rng.randrange(256)
            case 2:
                del data[place]
        if not data:
            break
    return bytes(data)


def _truncated(text: str, rng: random.Random) -> bytes:
    data = text.encode()
    first = rng.choice([0, 0, rng.randrange(len(data))])
    return data[first : rng.randrange(len(data))]


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def _token_swapped(text: str, rng: random.Random) -> bytes:
    tokens = _tokens(text)
    for _ in range(rng.randint(1, 3)):
        a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        match rng.randrange(3):
            case 0:
                tokens[a], tokens[b] = tokens[b], tokens[a]
            case 1:
                tokens[a] = tokens[b]
            case 2:
                tokens.insert(a, tokens[b])
    return "".join(tokens).encode()


def _value_replaced(text: str, rng: random.Random) -> bytes:
    tokens = _tokens(text)
    places = [n for n, token in enumerate(tokens) if token[:1] not in "[]{},: \n"]
    if not places:
        return _truncated(text, rng)
    tokens[rng.choice(places)] = rng.choice([*_VALUES, json.dumps(rng.choice(_EXPRESSIONS))])
    return "".join(tokens).encode("utf-8", "surrogatepass")


def _expression_replaced(text: str, rng: random.Random) -> bytes:
    bodies = list(re.finditer(r'"body": ("(?:[^"\\]|\\.)*")', text))
    if not bodies:
        return _value_replaced(text, rng)
    found = rng.choice(bodies)
    inner = json.loads(found[1])
    place = rng.randrange(len(inner) + 1)
    new = rng.choice([rng.choice(_EXPRESSIONS), inner[:place] + rng.choice("()[]+-*/%<>=,.i0A ") + inner[place:]])
    return (text[: found.start(1)] + json.dumps(new) + text[found.end(1) :]).encode()


def _key_twice(text: str, rng: random.Random) -> bytes:
    keys = list(re.finditer(r'"[a-z_]+": ', text))
    if not keys:
        return _truncated(text, rng)
    found = rng.choice(keys)
    return (text[: found.start()] + found[0] + rng.choice(_VALUES) + ", " + text[found.start() :]).encode()


def _deep(text: str, rng: random.Random) -> bytes:
    depth = rng.choice([30, 63, 64, 65, 500, 100_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ("[[", "]]")])
    nested = opening * depth + "1" + closing * rng.choice([depth, 0])
    tokens = _tokens(text)
    tokens[rng.randrange(len(tokens))] = nested
    return rng.choice([nested, "".join(tokens)]).encode()


def _long(text: str, rng: random.Random) -> bytes:
    return text.replace(rng.choice(["gemm", "C", "A", "i", "llvm"]), "n" * rng.choice([129, 5000, 100_000]), 1).encode()


def _many(text: str, rng: random.Random) -> bytes:
    """A list whose items stand there a thousand times."""
    lists = list(re.finditer(r'\[((?:"[^"\\]*"|\d+|\{[^{}]*\}))', text))
    if not lists:
        return _truncated(text, rng)
    found = rng.choice(lists)
    return (text[: found.start(1)] + (found[1] + ", ") * rng.choice([10, 100, 2000]) + text[found.start(1) :]).encode()


_KINDS: Final = (
    _noise, _any_json, _bytes_flipped, _bytes_flipped, _bytes_flipped, _truncated, _token_swapped, _token_swapped,
    _token_swapped, _value_replaced, _value_replaced, _expression_replaced, _expression_replaced, _key_twice, _deep,
    _long, _many,
)  # fmt: skip
