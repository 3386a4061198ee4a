"""The vocabulary of the repository is the field's: words of a private language do not come back.

Names (split at underscores and capitals), comments, docstrings and literals of Python files are searched, and the whole
text of documents, templates and scripts. docs/glossary.md has the words to use in their place.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
SEARCHED: Final = ("*.py", "*.md", "*.yaml", "*.yml", "*.toml", "*.sh", "Makefile", "*/Makefile")
BANNED: Final = {
    "whatever": "any, or the rule in positive words",
    "whoever": "the caller, the user, the operator",
    "somebody": "the caller, the user, the operator",
    "nobody": "no caller, no user",
    "anew": "again",
    "owe[ds]?": "pending, required",
    "tell|tells|told": "publish, report, emit, show, return",
    "asked": "requested, called",
    "given up": "dead-lettered, abandoned",
    "stand|stands|standing": "state, be",
    "wish|wishes|wished": "request, candidate",
    "news": "current, changed",
    "silence": "absence, no response",
    "in vain": "without result",
    "the latter": "its name",
    "of its own accord": "automatically",
    "for one in": "a loop variable that names the thing",
}
"""The words, as regular expressions, and what to write in their place."""
BANNED_NAMES: Final = re.compile(r"(?<![A-Za-z])(MOST|LONGEST|FARTHEST)_[A-Z]")
"""Constants: MAX_ and MIN_ in their place."""
ALLOWED: Final = (
    ("tests/unit/test_vocabulary.py", "*", "it lists them"),
    ("local/plaid/sample_data.py", "standing", "Plaid has a product standing_orders"),
)
"""Path pattern, word, reason."""
_WORDS: Final = re.compile(
    r"\b(?:" + "|".join(f"(?:{word})" for word in BANNED).replace(" ", r"\s+") + r")\b", re.IGNORECASE
)
_ESCAPES: Final = re.compile(r"(?<!\\)\\[nrt]")
_CAPITALS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_RUN: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, order=True)
class Hit:
    """A banned word.

    Attributes:
        word: in lower case, with single spaces.
    """

    path: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word}"


def hits_of(path: str, text: str) -> Iterator[Hit]:
    # Every change keeps the number of lines.
    plain = _CAPITALS.sub(" ", _ESCAPES.sub("  ", text).replace("_", " "))
    for found in _WORDS.finditer(plain):
        word = _RUN.sub(" ", found[0].lower())
        yield Hit(path, plain.count("\n", 0, found.start()) + 1, word)
    for found in BANNED_NAMES.finditer(text):
        yield Hit(path, text.count("\n", 0, found.start()) + 1, f"{found[1]}_")


def is_allowed(hit: Hit) -> bool:
    return any(fnmatch(hit.path, path) and fnmatch(hit.word, word) for path, word, _ in ALLOWED)


@cache
def all_hits() -> tuple[Hit, ...]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SEARCHED]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = [path for path in listed.split("\0") if path and (ROOT / path).is_file()]
    return tuple(sorted(hit for path in paths for hit in hits_of(path, (ROOT / path).read_text())))


def test_no_banned_word_is_in_the_repository() -> None:
    hits = [hit for hit in all_hits() if not is_allowed(hit)]
    assert not hits, "\n".join(map(str, hits))


def test_every_allowance_is_needed() -> None:
    unneeded = [
        entry
        for entry in ALLOWED
        if not any(fnmatch(hit.path, entry[0]) and fnmatch(hit.word, entry[1]) for hit in all_hits())
    ]
    assert unneeded == []


def test_words_are_found_in_names_phrases_and_literals_and_not_in_other_words() -> None:
    docstring = '"""It was given\n    up."""'
    text = f'class ItemStanding:\n    {docstring}\n_MOST_ROWS = "a\\nnews"\nfor one in rows:\n    asked_at()\n'
    assert [(hit.line, hit.word) for hit in sorted(hits_of("a.py", text))] == [
        (1, "standing"),
        (2, "given up"),
        (4, "MOST_"),
        (4, "news"),
        (5, "for one in"),
        (6, "asked"),
    ]
    assert not list(hits_of("a.py", "understand standard outstanding newsletter foretell most_common ALMOST_DONE"))
