"""Strategies for JSON that breaks a careless parser: genuine documents with hostile members, and hostile texts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping

_T = TypeVar("_T")
MAX_CERTAIN_DEPTH: Final = 250
"""Nesting that every parser here reads. No parser reads a thousand levels; in between, both is correct."""
_LITERALS: Final = (
    "null", "true", "0", "-1", "1.5", '""', '" "', '"x"', "[]", "{}", '"a b"', "[null]", '[["a"]]', '{"a":{"b":[]}}',
    "-0.0", "1e400", "1E-400", "1e999999999999999999", "1e9999999999999999999", "-1e-9999999999999999999",
    "123456789012345678901234567890.1234567890123456789", "0.1234567", "9" * 4300, "9" * 4301, "0." + "1" * 500,
    "NaN", "Infinity", "-Infinity", '"NaN"', "01", "+1", ".5", "1.", "'a'", "\ufeff1",
    '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\ufffe"', '"\\uffff"', '"\\u2028"', '"\u007f"',
    '"\u00e9"', '"\U0001f600"', '"\\x"', '"\\u12"', '"' + "a" * 128 + '"', '"' + "a" * 129 + '"',
    '{"\\ud800":"\\udfff"}', '{"a":1,"a":2}', '{"":null}', '{"__proto__":{}}', "{1:2}", '{"a"}', "[1,]", "",
)  # fmt: skip
_NESTS: Final = (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"))
_BULK: Final = ("x", "\u007f", "\u00e9", "\U0001f600", "\\u0000", "\\ufffe", '\\"')

TEXTS: Final = st.text(st.characters(exclude_categories=()), max_size=16)
"""Any characters, lone surrogates included."""
HOSTILE: Final = st.one_of(
    st.sampled_from(_LITERALS),
    st.sampled_from(_LITERALS),
    TEXTS.map(json.dumps),
    st.builds(
        lambda nest, depth: nest[0] * depth + "1" + nest[1] * depth,
        st.sampled_from(_NESTS),
        st.sampled_from((2, 50, 880, 950, 1_020, 5_000, 100_000)),
    ),
    st.builds(lambda unit, count: f'"{unit * count}"', st.sampled_from(_BULK), st.sampled_from((100, 1_000, 70_000))),
)
"""Texts of JSON values, and texts that only look like them."""
HOSTILE_BYTES: Final = HOSTILE.map(lambda text: text.encode("utf-8", "surrogatepass"))


class Draw(Protocol):
    """Draws a value from a strategy."""

    def __call__(self, strategy: st.SearchStrategy[_T], /) -> _T: ...


def pick(draw: Draw, *alternatives: _T) -> _T:
    """Draw one of the alternatives; the first one is the simplest."""
    return draw(st.sampled_from(alternatives))


def one_in(draw: Draw, count: int) -> bool:
    """Draw whether a rare thing happens."""
    return draw(st.integers(0, count - 1)) == count - 1


def mutated(draw: Draw, document: Mapping[str, Any]) -> bytes:
    """Draw a document with some members replaced, removed, repeated or renamed, perhaps damaged as a whole."""
    members = [(json.dumps(name), json.dumps(value, ensure_ascii=False)) for name, value in document.items()]
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(members)))
        name, value = members[place] if place < len(members) else (json.dumps(draw(TEXTS)), "null")
        edit = pick(draw, "replace", "remove", "repeat", "rename")
        if edit == "replace":
            members[place : place + 1] = [(name, draw(HOSTILE))]
        elif edit == "remove":
            members[place : place + 1] = []
        else:
            members.append((name, draw(HOSTILE)) if edit == "repeat" else (draw(HOSTILE), value))
    raw = ("{" + ",".join(f"{name}:{value}" for name, value in members) + "}").encode("utf-8", "surrogatepass")
    damage = pick(draw, *["none"] * 8, "cut", "inserted", "byte order mark")
    if damage == "byte order mark":
        return b"\xef\xbb\xbf" + raw
    place = draw(st.integers(0, len(raw))) if damage != "none" else len(raw)
    return raw[:place] + (b"" if damage != "inserted" else draw(st.binary(max_size=3)) + raw[place:])


def read(text: bytes | str) -> Any:
    """Parse JSON with Python's own parser, as strictly as the engine promises to.

    Raises:
        ValueError: it is not JSON in UTF-8, or has a number that no decimal represents.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded.removeprefix("\ufeff"), parse_float=Decimal, parse_constant=_refuse)
    except (ArithmeticError, RecursionError) as error:
        raise ValueError("not JSON") from error


def is_deep(text: bytes | str) -> bool:
    """Return whether a JSON text may nest so deeply that no parser has to read it."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return max(raw.count(b"["), raw.count(b"{")) > MAX_CERTAIN_DEPTH


def is_separable(text: bytes) -> bool:
    """Return whether a text between two commas of an array is one element: its brackets and texts match."""
    expected: list[int] = []
    quoted = escaped = False
    for letter in text:
        if quoted:
            quoted, escaped = escaped or letter != ord('"'), not escaped and letter == ord("\\")
        elif letter == ord('"'):
            quoted = True
        elif letter in b"[{":
            expected.append(letter + 2)
        elif (letter in b"]}" and (not expected or expected.pop() != letter)) or (letter == ord(",") and not expected):
            return False
    return not expected and not quoted and text.strip() != b""


def is_short_ascii(value: object, *, first: str, max_length: int = 128) -> bool:
    """Return whether a value is a text of ASCII characters from `first` to the last printable one."""
    return isinstance(value, str) and 1 <= len(value) <= max_length and all(first <= letter <= "~" for letter in value)


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("not JSON")
