"""`make clients`: the committed types are those of the documents, and the documented program uses them correctly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, Literal, NotRequired, get_type_hints

import pytest

from local.clients.__main__ import GENERATOR, PYTHON, TYPESCRIPT, write_python, write_typescript
from local.clients.document import client_document
from local.stack.paths import PROJECT
from tests.documents.reading import programs_of

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = PROJECT / "clients"
needs_node = pytest.mark.skipif(not GENERATOR.exists(), reason="needs node and npm, and then: make clients")
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "RowAdded.v1.schema.json",
    "title": "A row",
    "type": "object",
    "required": ["specversion", "data"],
    "properties": {"specversion": {"const": "1.0"}, "data": {"$ref": "#/$defs/data"}},
    "$defs": {
        "data": {
            "type": "object",
            "required": ["item_id", "rows"],
            "properties": {
                "item_id": {"type": "string"},
                "rows": {"type": ["number", "null"]},
                "before": {"$ref": "RowLost.v1.schema.json"},
                "state": {"$ref": "https://example.com/RowLost.v1.schema.json#/$defs/state"},
            },
        }
    },
}
USE_TS = """\
import type { components } from "./plaid-sync";
export const state = (item: components["schemas"]["Item"]): string => item.state;
// @ts-expect-error: it has no such member
export const status = (item: components["schemas"]["Item"]): string => item.status;
"""
LOST = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "number"}},
    "$defs": {"state": {"enum": ["on", "off"]}},
}


@pytest.fixture
def with_events(tmp_path: Path) -> dict[str, Any]:
    events = tmp_path / "events"
    events.mkdir()
    (events / "RowAdded.v1.schema.json").write_text(json.dumps(SCHEMA))
    (events / "RowLost.v1.schema.json").write_text(json.dumps(LOST))
    (events / "patterns.json").write_text("{}")
    return client_document(events=events)


def test_the_python_types_are_those_of_the_documents(tmp_path: Path) -> None:
    write_python(tmp_path, client_document()["components"]["schemas"])
    assert (tmp_path / PYTHON).read_text() == (CLIENTS / PYTHON).read_text(), "make clients"


@needs_node
def test_the_typescript_types_are_those_of_the_documents_and_compile(tmp_path: Path) -> None:
    write_typescript(tmp_path, client_document())
    assert (tmp_path / TYPESCRIPT).read_text() == (CLIENTS / TYPESCRIPT).read_text(), "make clients"
    use = tmp_path / "typescript" / "use.ts"
    use.write_text(USE_TS)
    command = [str(GENERATOR.with_name("tsc")), "--noEmit", "--strict", "--skipLibCheck", str(use)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_each_schema_of_an_event_is_a_type_with_exact_numbers(with_events: dict[str, Any], tmp_path: Path) -> None:
    write_python(tmp_path, with_events["components"]["schemas"])
    spec = spec_from_file_location("generated", tmp_path / PYTHON)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["generated"] = module  # the hints are looked up in it
    spec.loader.exec_module(module)
    data = get_type_hints(module.RowAddedV1)["data"]
    assert get_type_hints(data, include_extras=True) == {
        "item_id": str,
        "rows": Decimal | None,
        "before": NotRequired[module.RowLostV1],
        "state": NotRequired[Literal["on", "off"]],
    }
    assert get_type_hints(module.RowLostV1) == {"amount": Decimal}
    del sys.modules["generated"]


def test_an_event_with_the_name_of_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Item.schema.json").write_text('{"type": "object"}')
    with pytest.raises(ValueError, match="two schemas are called Item"):
        client_document(events=tmp_path)


def test_the_documented_program_has_no_type_errors(tmp_path: Path) -> None:
    (program,) = programs_of((PROJECT / "docs" / "api.md").read_text(encoding="utf-8"))
    file = tmp_path / "program.py"
    file.write_text(f'{program}item["status"]\n')  # the types are in use: this is an error, and the only one
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(file)]
    environment = os.environ | {"MYPYPATH": str(CLIENTS / "python")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert re.fullmatch(r".+ has no key \"status\"  \[typeddict-item\]\nFound 1 error .+\n", result.stdout)
