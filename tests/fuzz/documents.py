"""JSON texts that a careless parser trips over: genuine documents with hostile members, and whole hostile values."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fuzz.choices import Choices

_LITERALS: Final = (
    "null", "true", "0", "-1", "1.5", '""', '" "', '"x"', "[]", "{}", '"a b"', "[null]", '[["a"]]', '{"a":{"b":[]}}',
    "-0.0", "1e400", "1E-400", "1e999999999999999999", "1e9999999999999999999", "-1e-9999999999999999999",
    "123456789012345678901234567890.1234567890123456789", "0.1234567", "9" * 4300, "9" * 4301, "0." + "1" * 500,
    "NaN", "Infinity", "-Infinity", '"NaN"', "01", "+1", ".5", "1.", "'a'", "\ufeff1",
    '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\ufffe"', '"\\uffff"', '"\\u2028"', '"\u007f"',
    '"\u00e9"', '"\U0001f600"', '"\\x"', '"\\u12"', '"' + "a" * 128 + '"', '"' + "a" * 129 + '"',
    '{"\\ud800":"\\udfff"}', '{"a":1,"a":2}', '{"":null}', '{"__proto__":{}}', "{1:2}", '{"a"}', "[1,]", "",
)  # fmt: skip
_BULK: Final = ("x", "\u007f", "\u00e9", "\U0001f600", "\\u0000", "\\ufffe", '\\"')
_DEPTHS: Final = (2, 50, 5_000, 100_000)
_NESTS: Final = (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"))
CERTAIN_DEPTH: Final = 250
"""Nesting that every parser here takes; about a thousand levels none does, and between them nothing is promised."""


def hostile(choices: Choices) -> str:
    """Return the text of a JSON value, or of something that only looks like one."""
    kind = choices.below(8)
    if kind == 6:
        opening, closing = choices.pick(_NESTS)
        depth = 880 + choices.below(140) if choices.one_in(2) else choices.pick(_DEPTHS)
        return opening * depth + "1" + closing * depth
    if kind == 7:
        return '"' + choices.pick(_BULK) * choices.pick((100, 1_000, 70_000)) + '"'
    if kind == 5:
        return json.dumps(choices.text())
    return choices.pick(_LITERALS)


def mutated(document: Mapping[str, Any], choices: Choices) -> bytes:
    """Return a document of Plaid's with some members replaced, removed, repeated or added."""
    members = [(json.dumps(name), _encoded(value)) for name, value in document.items()]
    for _ in range(choices.below(4)):
        place = choices.below(len(members) + 1)
        name, value = members[place] if place < len(members) else (json.dumps(choices.text()), "null")
        operation = choices.below(5)
        if operation == 0:
            members[place : place + 1] = [(name, hostile(choices))]
        elif operation == 1:
            members[place : place + 1] = []
        elif operation == 2:
            members.append((name, hostile(choices)))  # with a name that is there: the same key twice
        elif operation == 3:
            members.append((hostile(choices) if choices.one_in(2) else json.dumps(choices.text()), value))
        else:
            members[place : place + 1] = [(name, json.dumps(choices.text()))]
    text = "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"
    return _damaged(text.encode("utf-8", "surrogatepass"), choices)


def read(text: bytes | str) -> Any:
    """Parse JSON with Python's own parser, as strictly as the engine promises to.

    Raises:
        ValueError: it is not JSON in UTF-8, or has a number that no decimal can be.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded.removeprefix("\ufeff"), parse_float=Decimal, parse_constant=_refuse)
    except (ArithmeticError, RecursionError) as error:
        raise ValueError("not JSON") from error


def depth_of(text: bytes | str) -> int:
    """Return at least how deeply a JSON text nests."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return max(raw.count(b"["), raw.count(b"{"))


def _encoded(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _damaged(raw: bytes, choices: Choices) -> bytes:
    operation = choices.below(16)
    place = choices.below(65_536) % (len(raw) + 1)
    if operation == 13:
        return raw[:place]
    if operation == 14:
        return raw[:place] + choices.take(3) + raw[place:]
    if operation == 15:
        return b"\xef\xbb\xbf" + raw
    return raw


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("not JSON")
