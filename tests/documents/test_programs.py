"""Every block of Python in the documents is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from local.stack.paths import PROJECT
from tests.documents.commands import Program, documents, programs_of

if TYPE_CHECKING:
    from tests.documents.workplace import Workplace

PROGRAMS: Final = [
    program
    for path in documents()
    for program in programs_of(path.read_text(encoding="utf-8"), str(path.relative_to(PROJECT)))
]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a block takes for granted.

    Attributes:
        where: its document.
        begins: how it begins.
        before: what its text has said before, or leaves to the reader.
        after: what must be so then.
        instead: how a part of it is run, that a reader has to fill in.
        only_compiled: why it can't be run here.
    """

    where: str
    begins: str
    before: str = ""
    after: str = ""
    instead: tuple[tuple[str, str], ...] = ()
    only_compiled: str = ""


_A_ROW: Final = """
import boto3, os, json, zlib
from decimal import Decimal
rows = boto3.client("dynamodb").scan(TableName=os.environ["TRANSACTIONS_TABLE"], Limit=1)["Items"]
row = {"plaid": rows[0]["plaid"]["B"]}
"""
_PARTS: Final = """
import json, zlib
from decimal import Decimal
text = b'{"amount": 12.10}'
parts = [{"raw": zlib.compress(text[:7])}, {"raw": zlib.compress(text[7:])}]
"""
SETTINGS: Final = (
    Setting(
        "docs/api.md",
        "import json",
        before="import sys; sys.path.insert(0, '.')\nfrom tests.documents.linking import go_through_link as input",
        after="assert item['item_id'] == linked['item_id']",
    ),
    Setting(
        "docs/data.md",
        "import json, zlib",
        before=_A_ROW,
        after="assert isinstance(transaction['amount'], (Decimal, int))",
    ),
    Setting("docs/data.md", "entry = ", before=_PARTS, after="assert entry == {'amount': Decimal('12.10')}"),
    Setting(
        "local/plaid/README.md",
        "configuration = ",
        before="import plaid",
        after="plaid.ApiClient(configuration).close()",
    ),
    Setting(
        "local/plaid/README.md",
        "from local.plaid import",
        after="assert sim.truth(linked.item_id)",
        instead=(("transaction_id,", "next(iter(sim.truth(linked.item_id))),"),),
    ),
    Setting(
        "local/stack/README.md",
        "with LocalStack.start",
        before="import os\nfrom pathlib import Path\nfrom local.plaid import PlaidServer, PlaidSimulator\n"
        "from local.stack import Emulator, LocalStack\nfrom local.stack.paths import Places\n"
        "from local.stack.running import RunningStack\n"
        "event = {'Records': []}\nserver = PlaidServer(PlaidSimulator()).__enter__()\nplaid_base_url = server.base_url",
        after="server.__exit__(None, None, None)",
        instead=(("Places()", "Places(run=Path(os.environ['WORK']) / '.local')"),),
    ),
    Setting(
        "local/stack/README.md",
        "for seconds_ago",
        before="from datetime import UTC, datetime, timedelta\nfrom local.stack import LocalStack\n"
        "now = datetime.now(UTC)\nrunning = LocalStack.start('http://127.0.0.1:9')\nstack = running.__enter__()",
        after="running.__exit__(None, None, None)",
    ),
)


def settings_of(program: Program) -> list[Setting]:
    name = program.where.rpartition(":")[0]
    return [one for one in SETTINGS if one.where == name and program.text.startswith(one.begins)]


def test_each_block_has_a_setting_and_each_setting_a_block() -> None:
    assert [program.where for program in PROGRAMS if len(settings_of(program)) != 1] == []
    used = {id(one) for program in PROGRAMS for one in settings_of(program)}
    assert [one for one in SETTINGS if id(one) not in used] == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.where)
def test_a_block_of_python_runs(program: Program, workplace: Workplace, item: str) -> None:
    (setting,) = settings_of(program)
    text = program.text
    if setting.only_compiled:
        compile(text, program.where, "exec")
        return
    for written, filled_in in setting.instead:
        assert written in text
        text = text.replace(written, filled_in)
    script = workplace.folder / "program.py"
    script.write_text(f"{setting.before}\n{text}\n{setting.after}\n")
    code, said = workplace.run(f"python -W error {script}", in_project=True, ITEM=item, PYTHONPATH=".")
    assert code == 0, said
