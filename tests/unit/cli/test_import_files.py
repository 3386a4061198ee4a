"""Files of Items to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plaid_sync_cli.errors import CommandError, ExitCode
from plaid_sync_cli.import_files import read_imports

if TYPE_CHECKING:
    from pathlib import Path

FIRST = '{"access_token": "access-sandbox-1", "client_user_id": "a"}'


def test_json_lines_and_csv_hold_the_same(tmp_path: Path) -> None:
    lines, table = tmp_path / "items.jsonl", tmp_path / "items.csv"
    lines.write_text(
        f"{FIRST}\n\n"
        '{"access_token": "access-sandbox-2", "client_user_id": "b", "cursor": "c", '
        '"transaction_ids": {"t1": "own 1"}}\n'
    )
    table.write_text(
        "﻿access_token,client_user_id,cursor,transaction_ids\n"
        'access-sandbox-1,a,,\naccess-sandbox-2,b,c,"{""t1"": ""own 1""}"\n'
    )
    entries = [(entry.body, dict(entry.transaction_ids)) for entry in read_imports(lines)]
    assert entries == [
        ({"access_token": "access-sandbox-1", "client_user_id": "a"}, {}),
        ({"access_token": "access-sandbox-2", "client_user_id": "b", "cursor": "c"}, {"t1": "own 1"}),
    ]
    assert [(entry.body, dict(entry.transaction_ids)) for entry in read_imports(table)] == entries
    assert [entry.line for entry in read_imports(lines)] == [1, 3]
    assert "access-sandbox" not in repr(read_imports(lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (f"{FIRST}\nnot json", "line 2"),
        (f"{FIRST}\n[1]", "line 2"),
        (f"[{FIRST}]", "line 1"),
        ('access_token,"client_user_id', "line 1"),
        (FIRST[:-1] + ', "transaction_ids": {"": "own"}}', "line 1: transaction_ids"),
        ('{"access_token": "access-sandbox-1", "client_user_id": "' + 129 * "u" + '"}', "line 1: client_user_id"),
        (f"{FIRST}\n\n{FIRST}", "line 3: access_token"),
        ('{"access_token": "access-sandbox-1"}', "line 1: client_user_id"),
        ('{"access_token": "secret-1", "client_user_id": "a"}', "line 1: access_token"),
        ('{"access_token": 7, "client_user_id": "a"}', "line 1: access_token"),
        (FIRST[:-1] + ', "cursor": ""}', "line 1: cursor"),
        (FIRST[:-1] + ', "access-sandbox-1": "x"}', "line 1: a field is unknown"),
        (FIRST[:-1] + ', "transaction_ids": ["t1"]}', "line 1: transaction_ids"),
        (FIRST[:-1] + ', "transaction_ids": {"t1": 7}}', "line 1: transaction_ids"),
        ("access_token,user\naccess-sandbox-1,a", "line 1"),
        ("access_token,client_user_id\naccess-sandbox-1", "line 2"),
        ("access_token,client_user_id\naccess-sandbox-1,a,b", "line 2"),
        ("access_token,client_user_id,transaction_ids\naccess-sandbox-1,a,{", "line 2: transaction_ids"),
        ('access_token,client_user_id\naccess-sandbox-1,"a', "CSV"),
    ],
)
def test_an_invalid_file_imports_nothing_and_names_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "items"
    file.write_text(text)
    with pytest.raises(CommandError) as caught:
        read_imports(file)
    assert message in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "access-sandbox-1" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "items"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="UTF-8"):
        read_imports(file)


def test_what_another_stack_exports_can_be_imported(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    exported = (
        ', "item_id": "i", "institution_id": "ins_1", "environment": "sandbox", "options": {}, "webhook": "https://x"'
    )
    file.write_text(FIRST[:-1] + exported + "}")
    assert [entry.body for entry in read_imports(file)] == [{"access_token": "access-sandbox-1", "client_user_id": "a"}]


def test_a_cell_may_have_thousands_of_ids_and_a_text_separators_of_lines(tmp_path: Path) -> None:
    table, lines = tmp_path / "items.csv", tmp_path / "items.jsonl"
    ids = ", ".join(f'""{number:040}"": ""own""' for number in range(4000))
    table.write_text(f'access_token,client_user_id,transaction_ids\naccess-sandbox-1,a,"{{{ids}}}"\n')
    assert len(read_imports(table)[0].transaction_ids) == 4000
    lines.write_text('{"access_token": "access-sandbox-1", "client_user_id": "a\u2028b"}', encoding="utf-8")
    assert read_imports(lines)[0].body["client_user_id"] == "a\u2028b"
