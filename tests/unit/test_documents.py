"""The documents are true where a test can see it without running a command (`tests/documents` runs them).

Links lead somewhere, commands and options exist, programs compile, the data dictionary is complete.
"""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest
import typer.main
from plaid_sync.aws.dynamodb import item_rows as item_format
from plaid_sync.aws.dynamodb import transactions as row_format
from plaid_sync.domain.item import StateName
from plaid_sync_cli.app import app

from local.stack.paths import PROJECT
from tests.documents.reading import MARKDOWN, commands_of, documents, programs_of, unmarked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK: Final = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
TARGETS: Final = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
each_document = pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(PROJECT)))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, heading in LINK.findall(document.read_text()):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not heading or heading in set(map(anchor, HEADING.findall(target.read_text()))), heading


@each_document
def test_a_block_of_commands_has_the_language_sh(document: Path) -> None:
    assert list(unmarked(document.read_text())) == []


@each_document
def test_every_program_compiles(document: Path) -> None:
    for program in programs_of(document.read_text()):
        compile(program, document.name, "exec")


@each_document
def test_every_command_exists(document: Path) -> None:
    assert list(unknown(document.read_text())) == []


def unknown(text: str) -> Iterator[str]:
    """Return make's targets, modules, commands and options of `plaid-sync` in a document that do not exist."""
    for typed in commands_of(text):
        command = re.sub(r"^([A-Z_]+=\S* +)+", "", typed.partition(" | ")[0]).removeprefix(".venv/bin/")
        words = shlex.split(command) if command.startswith(("make", "python", "plaid-sync")) else [""]
        if words[0] == "make":
            yield from (word for word in words[1:] if re.fullmatch("[a-z-]+", word) and word not in TARGETS)
        elif words[0].startswith("python") and words[1] == "-m":
            yield from () if find_spec(words[2]) else words[2:3]
        elif words[0] == "plaid-sync":
            yield from unknown_to_the_command_line(words[1:])


def unknown_to_the_command_line(words: list[str]) -> Iterator[str]:
    command = typer.main.get_command(app)
    options = {"--help"}
    for word in words:
        commands = getattr(command, "commands", None)
        if word.startswith("--"):
            options |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if word.partition("=")[0] not in options:
                yield word
        elif commands is not None:
            if word not in commands:
                yield word
                return
            command = commands[word]


def not_one_sentence(text: str) -> Iterator[str]:
    """Return the lines of a document's prose with more than one sentence, or with less than one.

    A line that is not the last of its paragraph ends where a sentence does. Tables and headings do not count.
    """
    tokens = MARKDOWN.parse(text)
    for before, token in pairwise(tokens):
        if token.type != "inline" or before.type != "paragraph_open":
            continue
        lines = re.sub(r"`[^`]*`", "`code`", re.sub(r"\]\([^)]*\)", "]", token.content)).split("\n")
        for number, line in enumerate(lines):
            more = re.search(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)[.!?][)\]*_\"”]*\s+[\[(*_`\"“]*[A-Z`]", line)
            open_ended = number < len(lines) - 1 and not re.search(r"[.!?:][)\]*_\"”`]*$", line)
            if more or open_ended:
                yield line


@each_document
def test_each_line_is_one_sentence(document: Path) -> None:
    assert list(not_one_sentence(document.read_text())) == []


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) < 200


def attributes(heading: str) -> set[str]:
    section = (PROJECT / "docs" / "data.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_the_data_dictionary_has_exactly_the_attributes_of_a_transaction() -> None:
    keys = {"item_id", "date_id", "expires_at", "annotations"}
    assert attributes("Transactions") == keys | set(row_format.ALL_ATTRIBUTES)


def test_the_data_dictionary_has_exactly_the_attributes_of_an_item() -> None:
    indexes = {"by_link", "by_user", "by_state", "by_next_attempt"}
    text = (item_format.__doc__ or "").split("Attributes:")[1]
    # What is inside a map is named with it.
    named = set(re.findall(r"`(\w+)`", re.sub(r"\((?:L of )?M: [^)]*\)", "", text))) - indexes
    assert attributes("Items") == named | {"item_id"}
    assert {status.value for status in StateName} <= set(re.findall(r"`(\w+)`", (PROJECT / "docs/data.md").read_text()))
