"""How each command of the documents is run: a command that no rule covers fails, and a rule that covers none.

Commands run in a folder of their own with `.local/env`, against the stack that `make local` keeps up there. In a
script `{}` is the command with the reader's values filled in (`FILLED_IN`), and `plaid-sync` has `--local`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DOCUMENTS: Final = (
    "README.md",
    "docs/deploying.md",
    "docs/invoking.md",
    "docs/api.md",
    "docs/moving-in.md",
    "docs/leaving.md",
)
FILLED_IN: Final = (
    (r" --stack plaid-sync$", ""),
    (r"\bITEM_ID\b", "$ITEM"),
    (r"\bage1\.\.\.", "$RECIPIENT"),
    (r"\bmy-event\.json\b", "tests/events/sync_batch_of_two_items.json"),
    (r"http://127\.0\.0\.1:3000/webhooks/plaid", '"$WEBHOOK_URL"'),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern for whole commands."""

    command: str

    def covers(self, text: str) -> bool:
        return re.fullmatch(self.command, text) is not None


@dataclass(frozen=True, slots=True)
class Run(Rule):
    """The script is executed; what it prints matches a pattern. Without the programs that it needs, it is skipped."""

    script: str = "{}"
    prints: str = ""
    code: int = 0
    needs: str = ""

    def script_of(self, text: str) -> str:
        for pattern, value in FILLED_IN:
            text = re.sub(pattern, value, text)
        return self.script.replace("{}", text)


@dataclass(frozen=True, slots=True)
class Serve(Rule):
    """The command is started, prints that it is ready, and ends in order at Ctrl-C."""

    script: str
    ready: str


@dataclass(frozen=True, slots=True)
class ByTest(Rule):
    """Another test runs the same: `file::function`."""

    test: str


@dataclass(frozen=True, slots=True)
class ByGate(Rule):
    """The gate or a workflow runs the target."""

    target: str


@dataclass(frozen=True, slots=True)
class OnAws(Rule):
    """Only AWS can run it: AWS's models have the call and its options."""


_PROJECT: Final = 'cd "$PROJECT" && '
_HERE: Final = ' --directory "$WORK/.local"'
_INVOKE: Final = _PROJECT + '{} ARGS="--directory $WORK/.local"'
_UNBUILT: Final = """
mkdir -p "$WORK/unbuilt" && ln -sfn -t "$WORK/unbuilt" "$PROJECT"/{template.yaml,functions,layers,infra} || exit 9
"""
"""A template as `sam build` leaves one; its code never runs."""
_KEY: Final = """
rm -rf tokens && RECIPIENT=$(python -c 'from pathlib import Path; from pyrage import x25519 as x
key = x.Identity.generate(); Path("key.txt").write_text(str(key)); print(key.to_public())') || exit 9
age() { python -c 'import sys; from pathlib import Path; import pyrage
key = pyrage.x25519.Identity.from_str(Path(sys.argv[3]).read_text())
sys.stdout.buffer.write(pyrage.decrypt(Path(sys.argv[4]).read_bytes(), [key]))' "$@"; }
"""
"""A key, and `age -d -i` by the library that the tests have."""
_DEPLOY: Final = "tests/e2e/test_deploy_command.py::test_a_stack_is_deployed_given_its_keys_updated_and_destroyed"
_INVOKED: Final = "tests/sam_local/test_sam_local.py::test_sync_makes_the_table_equal_to_plaid"
_SERVED: Final = "tests/sam_local/test_sam_local.py::test_start_api_serves_webhooks_and_the_items_api"
_READY: Final = "The local stack is ready"

RULES: Final[tuple[Rule, ...]] = (
    # The stack on this machine
    ByTest(
        r"plaid-sync feed replay",
        "tests/integration/test_feed_commands.py::test_a_replay_needs_an_archive_and_then_completes",
    ),
    ByTest("make local", "tests/documents/conftest.py::workplace"),
    Serve(
        r"make local PLAID_BASE_URL=\S+",
        'make local PLAID_BASE_URL="$PLAID_BASE_URL" ARGS="--directory $WORK/beside-another-plaid"',
        _READY,
    ),
    Serve("make plaid", 'make plaid ARGS="--port 0"', "Plaid is at http"),
    Run(r"set -a; \. \.local/env; set \+a", 'unset ITEMS_TABLE; {} && test -n "$ITEMS_TABLE"'),
    Run(r"tail -F \S+", "timeout 3 {} || test $? = 124", "item synced"),
    ByTest("make dashboard", "tests/e2e/test_demo.py::test_every_widget_of_the_dashboard_shows_what_has_happened"),
    # Signed requests
    Run(
        r'eval "\$\(aws configure export-credentials .+',
        'unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; {}; test "$AWS_ACCESS_KEY_ID" = a-developers',
        needs="aws",
    ),
    Run(r"export AWS_REGION=\S+ API_URL=\S+", 'unset API_URL; {} && test -n "$API_URL"'),
    Run(r"curl --aws-sigv4 .+", "{} --fail", '{"items":', needs="curl"),
    # Deploying
    ByTest(r"make (deploy|destroy)( ENV=dev( PARAMETERS=.+)?)?|sam deploy( --config-env dev)?", _DEPLOY),
    Run(
        r"make deploy ENV=prod PARAMETERS=.+",
        _UNBUILT + _PROJECT + '{} CONFIRM=no BUILD=no TEMPLATE="$WORK/unbuilt/template.yaml"',
        "Successfully created/updated stack",
        code=2,  # keys of Plaid's production are missing
        needs="sam",
    ),
    ByTest("make smoke", "tests/e2e/test_cli_smoke.py::test_a_working_deployment_passes_and_nothing_is_left"),
    Run("make smoke ENV=dev", _PROJECT + 'make smoke ENV=local BIN="$WORK/bin"', "8 steps"),
    OnAws(r"aws (backup|events|kms) .+"),
    # Invoking
    Run(r"\.venv/bin/python -m local\.events", _PROJECT + "{}", "sync_batch_of_two_items"),
    Run(r"\.venv/bin/python -m local\.events \w+( --item ITEM_ID)?", _PROJECT + "{}" + _HERE, r'^\{\n? *"'),
    Run(
        r"\.venv/bin/python -m local\.events \w+ > \.local/event\.json",
        _PROJECT + "{}" + _HERE + " && cat .local/event.json",
        '"plaid-verification": "e',
    ),
    Run(
        r"jq -r \.body \.local/event\.json .+",
        _PROJECT + "python -m local.events webhook_sync_updates_available" + _HERE + " > .local/event.json && {}",
        '^{"result":"queued"}$',
        needs="curl jq",
    ),
    Run(r"make invoke FN=webhook EVENT=\w+", "unset ITEM; " + _INVOKE, "queued"),
    Run(r"make invoke FN=sync EVENT=(\w+|my-event\.json)", "unset ITEM; " + _INVOKE, r'"batchItemFailures": \['),
    Run(r"make invoke FN=items EVENT=items_transactions ITEM=ITEM_ID", _INVOKE, "transaction_id"),
    Run(
        r"make invoke FN=audit EVENT=audit_sample ARGS=--json",
        "unset ITEM; " + _PROJECT + '{}" --directory $WORK/.local"',
        r'^\{"answer": \{.+"failed": false, "log": \[',
    ),
    Run(
        r"make invoke|\.venv/bin/python -m local\.invoke",
        _PROJECT + "python -m local.invoke items items_list" + _HERE,
        '"statusCode": 200',
    ),
    ByTest(r"make local ARGS=--containers|(.+ \| )?(SAM_CLI_RIE_DEV=1 )?sam local( invoke( .+)?)?", _INVOKED),
    ByTest(r"sam local start-(api|lambda) .+|curl -sS http://127\.0\.0\.1:3000/items", _SERVED),
    # Moving in, and leaving
    ByTest(
        r"plaid-sync import (FILE|items\.jsonl( --dry-run| --annotate)?)|plaid-sync undo-import( --all| ITEM_ID)",
        "tests/integration/test_cli.py::test_items_of_another_system_move_in_are_annotated_and_go_back",
    ),
    ByTest(
        "make move-in",
        "tests/simulation/faults/test_move_in.py::test_items_of_another_system_move_in_and_out_under_faults",
    ),
    Run("plaid-sync resync ITEM_ID", prints="^Requested a resync of 1 Item"),
    Run("plaid-sync item", '{} "$ITEM" || test $? = 1', r"table last synced with Plaid"),
    Run("plaid-sync pause", "{} --yes && plaid-sync resume"),
    Run("plaid-sync resume", "plaid-sync pause --yes && {}"),
    Run(
        "plaid-sync export --all --removed --directory transactions",
        "rm -rf transactions && {} && cat transactions/_manifest.json",
        '"complete": true',
    ),
    Run(r"plaid-sync tokens export --all .+", _KEY + "{} --yes", "^Exported the access tokens of"),
    Run(
        r"for file in tokens/\*\.age; do age -d -i key\.txt .+; done >items\.jsonl",
        _KEY + 'plaid-sync tokens export "$ITEM" --recipient "$RECIPIENT" --output tokens --yes; {}; cat items.jsonl',
        '^{"access_token":"access-sandbox-',
    ),
    ByTest(
        r"plaid-sync remove ITEM_ID --keep-at-plaid",
        "tests/integration/test_cli.py::test_an_item_is_kept_at_plaid_once_its_token_is_exported",
    ),
    # Types
    ByTest("make clients", "tests/unit/test_clients.py::test_the_python_types_are_those_of_the_documents"),
    # The command line
    Run(
        r"(pipx|uv tool) install '\.\[cli\]'",
        _PROJECT + 'UV_TOOL_DIR="$WORK/uv" UV_TOOL_BIN_DIR="$WORK/uv-bin" uv tool install --force \'.[cli]\' && '
        '"$WORK/uv-bin/plaid-sync" --help',
        "status",
    ),
    Run(r"plaid-sync status( --stack plaid-sync)?", "{} || test $? = 1", "Items"),
    Run(r"plaid-sync item ITEM_ID", prints="^rows "),
    Run(r"plaid-sync items", prints="active"),
    Run("plaid-sync audit", "{} $ITEM", "^No drift"),
    Run(r"plaid-sync audit --sample 20", prints="^No drift"),
    Run(r"plaid-sync doctor", "{} || test $? = 1", " tables: "),
    Run("plaid-sync dlq replay", "{} --yes"),
    Run("plaid-sync usage", prints="write units"),
    Run(
        r"plaid-sync remove ITEM_ID --transactions erase",
        'ITEM=$(new-item) && {} --yes && until plaid-sync item "$ITEM" | grep -E "[0-9]+ erased"; do sleep 1; done',
        r"\d+ erased",
    ),
    Run("plaid-sync about", prints="webhook URL +http"),
    Run(
        "plaid-sync keys set",
        """{} <<<'{"client_id": "local-client-id", "secret": "local-secret"}'""",
        "http://.+ accepts them",
    ),
    Run(r"make capacity ITEMS=\d+ WEBHOOKS=\d+", _PROJECT + "{}", "sync workers"),
    # The proof: what takes minutes prints its usage here, and runs in the gate or a workflow
    Run(r"make (model|liveness|mutants|fuzz|bench)", _PROJECT + "{} ARGS=--help", "usage: "),
    ByGate(r'make demo( ARGS=("--seed 11"|--corrupt))?', "demo"),
    ByGate("make build|sam build", "reproducible"),  # which builds twice
    ByGate("make (build-local|sam-local)", "sam-local"),  # which builds before
    ByGate('make test( ARGS=".+")?', "test"),
    ByGate("make test-artifact", "test-artifact"),
    ByGate("make faults( N=[0-9]+)?", "faults"),
)
