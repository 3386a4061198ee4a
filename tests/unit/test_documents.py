"""What the documents say is so: links lead somewhere, the data dictionary is complete. Commands: `tests/documents`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plaid_sync.adapters.dynamodb import item_format, row_format
from plaid_sync.core.items import ItemStatus

from tests.documents.commands import documents

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")


def anchor(heading: str) -> str:
    """Return what a heading is linked by."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    for path, heading in LINK.findall(document.read_text()):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not heading or heading in {anchor(one) for one in HEADING.findall(target.read_text())}, heading


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


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
