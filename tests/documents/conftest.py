"""The folder and the stack that all commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.documents.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A folder beside which `make local` keeps the stack up."""
    place = Workplace.at(tmp_path_factory.mktemp("documents"))
    with place.serving('make local ARGS="--directory $WORK/.local"', "The local stack is ready"):
        yield place


@pytest.fixture(scope="session")
def item(workplace: Workplace) -> str:
    """An Item whose history is in the table, for the commands that want one."""
    code, said = workplace.run("new-item")
    assert code == 0, said
    return said.strip()
