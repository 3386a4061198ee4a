"""What the documents tell a reader to type, and where.

In a fenced block of the language `sh` every line is a command, and what its comment offers after `Or: `; in one without
a language, or of another one, the lines that begin with `$ `. In running text it is each code span that begins with a
program (`PROGRAMS`).
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from markdown_it.token import Token

PROGRAMS: Final = frozenset(
    [
        "aws",
        "cat",
        "cd",
        "cp",
        "curl",
        "docker",
        "eval",
        "export",
        "git",
        "gh",
        "kill",
        "make",
        "npm",
        "pip",
        "pipx",
        "plaid-sync",
        "python",
        "python3",
        "read",
        "rm",
        "sam",
        "set",
        "tail",
        "uv",
    ]
)
SHELL: Final = "sh"
_ASSIGNMENTS: Final = re.compile(r"^(?:[A-Z_]+=\S* +)+")
_COMMENT: Final = re.compile(r"(?:^|\s+)#(?:\s.*|$)")
_PROMPT: Final = "$ "
_ENVIRONMENT: Final = ".venv/bin/"
_MARKDOWN: Final = MarkdownIt().enable("table")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a document.

    Attributes:
        text: what is typed, without a comment, on one line.
        where: document and line.
    """

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Program:
    """A block of Python."""

    text: str
    where: str


def documents() -> list[Path]:
    """Return every document of the repository, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return sorted(PROJECT / name for name in set(listed.split()) if (PROJECT / name).exists())


def commands_of(text: str, name: str) -> Iterator[Command]:
    """Return a document's commands in order."""
    for token in _MARKDOWN.parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            for number, typed in _typed(token):
                yield Command(typed, f"{name}:{line + number}")
        for child in token.children or ():
            if child.type == "code_inline" and _is_command(child.content):
                yield Command(" ".join(child.content.split()), f"{name}:{line}")


def programs_of(text: str, name: str) -> Iterator[Program]:
    """Return a document's blocks of Python."""
    for token in _MARKDOWN.parse(text):
        if token.type == "fence" and token.info == "python" and token.map:
            yield Program(token.content, f"{name}:{token.map[0] + 1}")


def stray(text: str, name: str) -> list[str]:
    """Return lines of blocks that look like commands and are not marked as such."""
    return [
        f"{name}:{token.map[0] + 1 + number}: {line}"
        for token in _MARKDOWN.parse(text)
        if token.type == "fence" and token.info in {"", "text", "console", "bash", "shell"} and token.map
        for number, line in enumerate(token.content.splitlines(), start=1)
        if _is_command(line) and not line.startswith(" ")
    ]


def _typed(token: Token) -> Iterator[tuple[int, str]]:
    """Return the commands of a block with the numbers of their lines, continued lines joined."""
    lines: Iterable[tuple[int, str]] = enumerate(token.content.splitlines(), start=1)
    if token.info != SHELL:
        lines = [(number, line.removeprefix(_PROMPT)) for number, line in lines if line.startswith(_PROMPT)]
    began, text = 0, ""
    for number, line in lines:
        began = began or number
        text += line.rstrip()
        if text.endswith("\\"):
            text = text[:-1].rstrip() + " "
            continue
        comment = _COMMENT.search(text)
        alternative = comment[0].partition("Or: ")[2] if comment else ""
        for typed in (text[: comment.start()] if comment else text, alternative):
            if typed.split():
                yield began, " ".join(typed.split())
        began, text = 0, ""


def _is_command(text: str) -> bool:
    words = _ASSIGNMENTS.sub("", text.strip()).removeprefix(_ENVIRONMENT).split()
    return len(words) > 1 and words[0] in PROGRAMS
