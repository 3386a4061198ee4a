"""What the documents say to type.

In a fenced block of the language `sh` every line is a command, and what its comment offers after `Or: `. In running
text a command is a code span that begins with a program and has an argument.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from markdown_it.token import Token

MARKDOWN: Final = MarkdownIt().enable("table")
_COMMAND: Final = re.compile(
    r"(?:[A-Z_]+=\S* +)*(?:\.venv/bin/)?"
    r"(?:aws|cat|cd|cp|curl|docker|eval|export|git|kill|make|npm|pip|pipx|plaid-sync|python3?|rm|sam|set|tail|uv)\s+\S"
)
_COMMENT: Final = re.compile(r"(?:^|\s+)#(?:\s.*|$)")


def documents() -> list[Path]:
    """Return every document of the repository, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return sorted(PROJECT / name for name in set(listed.split()) if (PROJECT / name).exists())


def commands_of(text: str) -> Iterator[str]:
    """Return a document's commands in order, without comments, each on one line."""
    for token in MARKDOWN.parse(text):
        if token.type == "fence" and token.info == "sh":
            yield from _lines_of(token)
        for child in token.children or ():
            if child.type == "code_inline" and is_command(child.content):
                yield " ".join(child.content.split())


def programs_of(text: str) -> Iterator[str]:
    for token in MARKDOWN.parse(text):
        if token.type == "fence" and token.info == "python":
            yield token.content


def unmarked(text: str) -> Iterator[str]:
    """Return the lines of other blocks that look like commands."""
    for token in MARKDOWN.parse(text):
        if token.type == "fence" and token.info in {"", "text", "console", "bash", "shell"}:
            yield from (line for line in token.content.splitlines() if is_command(line) and not line.startswith(" "))


def is_command(text: str) -> bool:
    return _COMMAND.match(text) is not None


def _lines_of(token: Token) -> Iterator[str]:
    for line in token.content.replace("\\\n", " ").splitlines():
        comment = _COMMENT.search(line)
        alternative = comment[0].partition("Or: ")[2] if comment else ""
        for typed in (line[: comment.start()] if comment else line, alternative):
            if typed.split():
                yield " ".join(typed.split())
