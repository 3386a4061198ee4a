"""What the documents call a test is one."""

from __future__ import annotations

import re
from typing import Final

import pytest

from local.stack.paths import PROJECT

NAMED: Final = {
    (document, file, test)
    for document in ("architecture.md", "security.md")
    for file, test in re.findall(
        r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (PROJECT / "docs" / document).read_text(encoding="utf-8")
    )
}


@pytest.mark.parametrize(("document", "file", "test"), sorted(NAMED))
def test_a_test_that_a_document_names_exists(document: str, file: str, test: str) -> None:
    text = (PROJECT / file).read_text(encoding="utf-8")
    assert not test or re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), document


def test_every_way_to_die_names_what_shows_it() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("## What if it dies here")[1].splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    assert [row for row in rows if "::test_" not in row] == []
