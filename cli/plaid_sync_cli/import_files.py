"""Files of Items to import: JSON Lines, or CSV with a header. No error quotes a value: it may be an access token."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plaid_sync.domain import exact_json
from plaid_sync.domain.requests import MAX_USER_ID_LENGTH
from plaid_sync.domain.text import MAX_TOKEN_LENGTH
from plaid_sync.linking.importing import MAX_CURSOR_LENGTH

from plaid_sync_cli.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_REQUIRED: Final = ("access_token", "client_user_id")
_TEXTS: Final = {"access_token": MAX_TOKEN_LENGTH, "client_user_id": MAX_USER_ID_LENGTH, "cursor": MAX_CURSOR_LENGTH}
"""The fields that are texts, with their greatest lengths."""
_IDS: Final = "transaction_ids"
_EXPORTED: Final = frozenset({"item_id", "institution_id", "environment", "options", "webhook"})
"""What `plaid-sync tokens export` adds: the lines of another stack can be imported as they are."""
_SHAPE: Final = '{"access_token": "access-...", "client_user_id": "..."}'


@dataclass(frozen=True, slots=True)
class ImportEntry:
    """An Item to import.

    Attributes:
        line: where it is in the file, from 1.
        body: the body of its request.
        transaction_ids: the other system's own id of each of Plaid's transaction ids.
    """

    line: int
    body: dict[str, Any] = field(repr=False)
    transaction_ids: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_imports(file: Path) -> list[ImportEntry]:
    """Read a whole file.

    Raises:
        CommandError: an entry is invalid, or its access token is in the file twice; it names the line and the field.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"{file} cannot be read as UTF-8", "Give JSON Lines or CSV.") from error
    if not text.strip():
        raise _invalid(f"{file} is empty", f"Give JSON Lines, {_SHAPE}, or CSV with a header.")
    rows = _json_lines(text) if text.lstrip().startswith(("{", "[")) else _csv_rows(text)
    entries, lines = list[ImportEntry](), dict[str, int]()
    for line, row in rows:
        entry = _entry(line, row)
        first = lines.setdefault(entry.body["access_token"], line)
        if first != line:
            raise _invalid(f"line {line}: access_token", f"It is that of line {first}, too: leave one out.")
        entries.append(entry)
    return entries


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines: a text in JSON can have separators of lines of its own.
    for line, document in enumerate(text.split("\n"), start=1):
        if not document.strip():
            continue
        try:
            row = exact_json.loads(document)
        except exact_json.InvalidJsonError:
            row = None
        if not isinstance(row, dict):
            raise _invalid(f"line {line}", f"Give one JSON object, {_SHAPE}.") from None
        yield line, row


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # of `transaction_ids`
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        header = reader.fieldnames or ()
        if not set(_REQUIRED) <= set(header) or not set(header) <= {*_TEXTS, _IDS}:
            raise _invalid("line 1", f"Give a header of {', '.join((*_TEXTS, _IDS))}; the last two are optional.")
        for row in reader:
            if None in row or None in row.values():
                raise _invalid(f"line {reader.line_num}", f"Give {len(header)} values, as the header has.")
            given: dict[str, Any] = {name: value for name, value in row.items() if value}
            if _IDS in given:
                given[_IDS] = _parsed(given[_IDS], reader.line_num)
            yield reader.line_num, given
    except csv.Error as error:
        raise _invalid(f"line {max(1, reader.line_num)}", "Give CSV as RFC 4180 has it, or JSON Lines.") from error


def _parsed(text: str, line: int) -> Any:  # noqa: ANN401 - JSON
    try:
        return exact_json.loads(text)
    except exact_json.InvalidJsonError as error:
        raise _ids_error(line) from error


def _entry(line: int, row: dict[str, Any]) -> ImportEntry:
    for name in row:
        if name not in (*_TEXTS, _IDS, *_EXPORTED):
            raise _invalid(f"line {line}: a field is unknown", f"Give only {', '.join((*_TEXTS, _IDS))}.")
    for name in _REQUIRED:
        if name not in row:
            raise _invalid(f"line {line}: {name}", "It is missing.")
    for name, max_length in _TEXTS.items():
        if name in row and (not isinstance(row[name], str) or not 0 < len(row[name]) <= max_length):
            raise _invalid(f"line {line}: {name}", f"Give a text of 1 to {max_length:,} characters.")
    if not row["access_token"].startswith("access-"):
        raise _invalid(f"line {line}: access_token", "Give an access token, access-...")
    ids = row.get(_IDS, {})
    if not isinstance(ids, dict) or not all(ids) or not all(isinstance(each, str) and each for each in ids.values()):
        raise _ids_error(line)
    return ImportEntry(line, {name: row[name] for name in _TEXTS if name in row}, ids)


def _ids_error(line: int) -> CommandError:
    return _invalid(f"line {line}: {_IDS}", 'Give a JSON object of your ids by Plaid\'s: {"Plaid\'s id": "yours"}.')


def _invalid(message: str, fix: str) -> CommandError:
    return CommandError(message, f"{fix} Nothing was imported.", ExitCode.USAGE)
