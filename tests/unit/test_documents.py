"""What the documents say is so: commands exist, links lead somewhere, the data dictionary is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plaid_sync.adapters.dynamodb import item_format, row_format
from plaid_sync.core.items import ItemStatus

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "local").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_link_of_a_document_exists(document: Path) -> None:
    text = document.read_text()
    commands = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert commands <= TARGETS
    for module in re.findall(r"python -m (local\.[a-z.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (document.parent / link).exists(), link


def attributes(heading: str) -> set[str]:
    section = (ROOT / "docs" / "data.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_the_data_dictionary_has_exactly_the_attributes_of_a_transaction() -> None:
    keys = {"item_id", "date_id", "expires_at"}
    assert attributes("Transactions") == keys | set(row_format.ALL_ATTRIBUTES)


def test_the_data_dictionary_has_exactly_the_attributes_of_an_item() -> None:
    indexes = {"by_link", "by_user", "by_status", "by_due"}
    named = set(re.findall(r"`(\w+)`", (item_format.__doc__ or "").split("Attributes:")[1])) - indexes
    assert attributes("Items") == named | {"item_id"}
    assert {status.value for status in ItemStatus} <= set(re.findall(r"`(\w+)`", (ROOT / "docs/data.md").read_text()))
