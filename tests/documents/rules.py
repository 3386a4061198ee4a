"""How each command of the documents is run: the whole list. A command that none covers fails, and one that covers none.

Commands run in a shell, in a folder of their own with `.local/env`, against the stack that `make local` keeps up
there, with `plaid-sync`, `aws` and `python` of the locked environments. What a reader fills in is filled in
(`FILLED_IN`); what would take long or never end is given a limit (`as_run`, `why`). In that shell `plaid-sync` is told
`--local`.
"""

from __future__ import annotations

from typing import Final

from tests.documents.kinds import ByTest, Elsewhere, InGate, Kept, Rule, Run, Serve
from tests.documents.preparing import COPY, DEAD_LETTERS, DOOMED_KEY, DRIFTED, HERE, INVOKED, NEW, OF_A_USER, UNBUILT

_DEPLOYS: Final = (
    "tests/component/test_deploy_command.py::test_a_stack_is_deployed_given_its_keys_updated_and_destroyed"
)
_IN_A_CONTAINER: Final = "tests/sam_local/test_invoke.py::test_sync_brings_the_table_to_plaids_truth"
_SERVED: Final = "tests/sam_local/test_serve.py::test_an_item_is_read_from_the_served_api"
_MENTIONED: Final = "the text speaks of it without what it is about"
_ENDLESS: Final = "it goes on until Ctrl-C"
_LONG: Final = "as it stands it takes minutes"

RULES: Final[tuple[Rule, ...]] = (
    # -- the stack, and what stands beside it --------------------------------------------------------------------------
    Kept("make local"),
    Serve(
        r"make local PLAID_BASE_URL=\S+",
        as_run='make local PLAID_BASE_URL="$PLAID_BASE_URL" ARGS="--directory $WORK/beside-another-plaid"',
        ready="The local stack is ready",
    ),
    Serve(
        r"make local LOCAL_AWS_PROXY=\S+",
        as_run='make local LOCAL_AWS_PROXY="$AWS_ENDPOINT_URL" ARGS="--directory $WORK/through-a-proxy"',
        ready="The local stack is ready",
    ),
    Serve("make plaid", as_run='make plaid ARGS="--port 0"', ready="Plaid is at http"),
    Serve(
        r"python -m local\.plaid --port 8700 --seed 7",
        as_run="python -m local.plaid --port 0 --seed 7",
        ready="Plaid is at http",
    ),
    Run(r"python -m local\.(plaid|stack) --help", says=("usage: ",), in_project=True),
    Run(r"set -a; \. \.local/env; set \+a", as_run='unset ITEMS_TABLE; {} && test -n "$ITEMS_TABLE"'),
    Run(r"tail -F \S+", as_run="timeout 3 {} || test $? = 124", says=("item synced",), why=_ENDLESS),
    Run(r"rm -r \.local", as_run="mkdir -p idle/.local && cd idle && {}", why="a stack runs in the other one"),
    # -- AWS -----------------------------------------------------------------------------------------------------------
    Run(r"aws dynamodb scan .+", says=('"transaction_id"',)),
    Run(r"aws logs tail \S+", says=("item synced",)),
    Run(
        r"aws sqs receive-message",
        as_run=DEAD_LETTERS + '{} --queue-url "$DEAD_LETTER_QUEUE_URL"',
        says=('"Body": "{',),
        why=_MENTIONED,
    ),
    Run(r"aws dynamodb restore-table-to-point-in-time .+", says=("TableDescription",)),
    Run(r"aws kms cancel-key-deletion", as_run=DOOMED_KEY + '{} --key-id "$KEY"', says=('"KeyId"',), why=_MENTIONED),
    Run(
        r'eval "\$\(aws configure export-credentials .+',
        as_run='unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; {}; test "$AWS_ACCESS_KEY_ID" = a-developers',
    ),
    Run(r"export AWS_REGION=\S+ API_URL=\S+", as_run='unset API_URL; {} && test -n "$API_URL"'),
    Run(r"curl --aws-sigv4 .+", as_run="{} --fail", says=('{"items":',)),
    # -- deploying -----------------------------------------------------------------------------------------------------
    ByTest(
        r"make deploy( ENV=(dev|prod|dev PARAMETERS=.+))?|make destroy( ENV=dev)?|sam deploy( --config-env dev)?",
        _DEPLOYS,
    ),
    Run(
        r"make deploy ENV=prod PARAMETERS=.+",
        as_run=UNBUILT + '{} CONFIRM=no BUILD=no TEMPLATE="$WORK/unbuilt/template.yaml"',
        code=2,
        says=("^Successfully created/updated stack", "^plaid-sync: .*Plaid's keys"),
        in_project=True,
        why="onto the emulator, without anybody to be asked; it ends where it wants keys of Plaid's production",
    ),
    ByTest("make smoke", "tests/component/test_cli_smoke.py::test_a_deployment_that_works_passes_and_nothing_is_left"),
    Run(
        r"make smoke ENV=dev",
        as_run='{} ENV=local BIN="$WORK/bin"',
        says=(r"^It works: 7 steps passed\.",),
        in_project=True,
        why="nothing is deployed to AWS",
    ),
    # -- invoking ------------------------------------------------------------------------------------------------------
    Run(r"\.venv/bin/python -m local\.events", says=("^sync_batch_of_two_items$",), in_project=True),
    Run(
        r"\.venv/bin/python -m local\.events webhook_\w+",
        as_run="{}" + HERE,
        says=('"routeKey": "POST /webhooks/plaid"',),
        in_project=True,
    ),
    Run(
        r"\.venv/bin/python -m local\.events sync_\w+ --item (ITEM_)?ID",
        as_run="{}" + HERE + ' >"$WORK/batch.json" && grep "$ITEM" "$WORK/batch.json"',
        says=("item_id",),
        in_project=True,
    ),
    Run(
        r"\.venv/bin/python -m local\.events webhook_\w+ > \.local/event\.json",
        as_run="{}" + HERE + " && cat .local/event.json",
        says=('"plaid-verification": "e',),
        in_project=True,
    ),
    Run(
        r"jq -r \.body \.local/event\.json .+",
        as_run="python -m local.events webhook_sync_updates_available" + HERE + " > .local/event.json && {}",
        says=('^{"result":"queued"}$',),
        in_project=True,
        why="it is posted to the stack itself",
    ),
    Run(
        r"make invoke FN=webhook EVENT=\w+",
        as_run=INVOKED,
        says=("queued",),
        in_project=True,
    ),
    Run(
        r"make invoke FN=sync EVENT=(\w+|my-event\.json)",
        as_run=INVOKED,
        says=('"batchItemFailures": \\[',),
        in_project=True,
    ),
    Run(
        r"make invoke FN=items EVENT=items_transactions ITEM=ITEM_ID",
        as_run='{} ARGS="--directory $WORK/.local"',
        says=('"statusCode": 200', r"transaction_id"),
        in_project=True,
    ),
    Run(
        r"make invoke FN=audit EVENT=audit_sample ARGS=--json",
        as_run='unset ITEM; {}" --directory $WORK/.local"',
        says=(r'^{"answer": {.+"failed": false, "log": \[',),
        in_project=True,
    ),
    Run(
        r"make invoke|python -m local\.invoke",
        as_run="python -m local.invoke items items_list" + HERE,
        says=('"statusCode": 200',),
        in_project=True,
        why=_MENTIONED,
    ),
    ByTest(r"make local ARGS=--containers|(.+ \| )?(SAM_CLI_RIE_DEV=1 )?sam local( invoke( .+)?)?", _IN_A_CONTAINER),
    ByTest(r"sam local start-(api|lambda) .+|curl -sS http://127\.0\.0\.1:3000/items", _SERVED),
    Elsewhere(
        r"git worktree add \S+ 5615987 && cd \S+|PYTHONPATH=\S+ PYTHON make_state\.py FOLDER",
        why="an old commit, which a clone need not have",
    ),
    # -- the command line ----------------------------------------------------------------------------------------------
    Run(
        r"pipx install '\.\[cli\]'",
        as_run='uv venv --quiet "$WORK/pipx" && uv pip install --quiet --python "$WORK/pipx/bin/python" \'.[cli]\' && '
        '"$WORK/pipx/bin/plaid-sync" --help',
        says=("status",),
        in_project=True,
        why="pipx does this, too, in a folder of its own, but takes a minute",
    ),
    Run(
        r"uv tool install '\.\[cli\]'",
        as_run='UV_TOOL_DIR="$WORK/uv" UV_TOOL_BIN_DIR="$WORK/uv-bin" {} && "$WORK/uv-bin/plaid-sync" --help',
        says=("status",),
        in_project=True,
    ),
    Run(r"export PLAID_SYNC_STACK=plaid-sync", as_run='{} && test "$PLAID_SYNC_STACK" = plaid-sync'),
    Run(r"plaid-sync link( --local)?", shows=True),
    Run(
        r"plaid-sync status( --stack plaid-sync)?",
        as_run=DEAD_LETTERS + "{}",
        code=1,
        says=(
            r"^Money data is fresh for \d+ of \d+ Items, but action is required: ",
            "^  ! 2 dead-lettered messages",
        ),
    ),
    Run(
        r"plaid-sync watch", as_run="{} --times 1", says=(r"^[\d:]{8} queue \d+ \+ \d+ in flight, dead",), why=_ENDLESS
    ),
    Run(r"plaid-sync items", shows=True),
    Run(r"plaid-sync items --state removed", as_run=NEW + 'plaid-sync remove "$ITEM" --yes; {}', says=("removed",)),
    Run(r"plaid-sync item (ITEM_)?ID", says=("^fresh ", "^rows ", "^messages ", "^last [0-9]+ events ", "^logs: ")),
    Run(r"plaid-sync item", as_run="{} $ITEM", says=("^fresh ",), why=_MENTIONED),
    Run(r"plaid-sync audit (ITEM_ID|ID|\[ITEM_ID\.\.\.\])", says=("^No drift: 1 Item", r"  clean  ")),
    Run(r"plaid-sync audit( --values)?", as_run="{} $ITEM", says=("^No drift: 1 Item",), why=_MENTIONED),
    Run(r"plaid-sync audit --(sample 20|all --rate 30/min)", says=(r"^No drift: \d+ Items?,",)),
    Run(r"plaid-sync audit \w+ --values", as_run=DRIFTED + "{}", code=1, says=(r"different  amount +\S+ +0\.01",)),
    Run(r"plaid-sync audit \w+ --repair", as_run=DRIFTED + "{} --yes", says=("^Repaired 1 Item. Nothing is left.",)),
    Run(
        r"plaid-sync doctor",
        as_run="plaid-sync pause --yes >/dev/null; {}; found=$?; plaid-sync resume >/dev/null; exit $found",
        code=1,
        shows=True,
    ),
    Run(r"plaid-sync verify-webhook FILE", code=1, shows=True),
    Run(r"plaid-sync usage", says=("^Used in the last 7 days",)),
    Run(r"plaid-sync export( \[ITEM_ID\.\.\.\])?", as_run="plaid-sync export --all", says=('"transaction_id": ?"',)),
    Run(r"plaid-sync export --all .+", shows=True),
    Run(r"plaid-sync sync (ITEM_)?ID(\.\.\.)?", shows=True),
    Run(r"plaid-sync refresh (ITEM_)?ID(\.\.\.)?", as_run=NEW + "{}", shows=True),
    Run(r"plaid-sync items --user CLIENT_USER_ID", as_run=OF_A_USER + "{}", says=("user-17",)),
    Run(
        r"plaid-sync export --user CLIENT_USER_ID --removed --output data\.jsonl",
        as_run=OF_A_USER + "{} && test -s data.jsonl",
        says=(r"^[\d,]+ transactions of \d+ Items? in data\.jsonl",),
    ),
    Run(
        r"plaid-sync remove (ITEM_)?ID --transactions erase",
        as_run=OF_A_USER + '{} --yes && until plaid-sync item "$ITEM" | grep -E "[0-9]+ erased"; do sleep 1; done',
        says=(r"\d+ erased",),
    ),
    Run(r"plaid-sync resync (ITEM_ID|ID|\[ITEM_ID\.\.\.\])", says=("^Requested a resync of 1 Item",)),
    Run(r"plaid-sync resync --all --rate 2/s --dry-run", says=(r"^Would resync \d+ Items",)),
    Run(
        r"plaid-sync remove (ITEM_)?ID",
        as_run=NEW + "{}; test $? = 130 && {} --yes",
        says=(r"^Remove \w+ \(active, user \S+\) permanently, and keep its \d+ transactions\? \[y/N\]:",),
    ),
    Run(r"plaid-sync dlq list( \[ITEM_ID\])?", as_run=DEAD_LETTERS + "plaid-sync dlq list", code=1, shows=True),
    Run(
        r"plaid-sync dlq replay( \[ITEM_ID\])?", as_run=DEAD_LETTERS + "plaid-sync dlq replay --yes", code=1, shows=True
    ),
    Run(r"plaid-sync dlq replay --dry-run", as_run=DEAD_LETTERS + "{}", says=("^Would replay 1",)),
    Run(r"plaid-sync pause", as_run="{} --yes && plaid-sync resume", shows=True),
    Run(r"plaid-sync resume", as_run="plaid-sync pause --yes && {}", shows=True),
    Run(r"plaid-sync whoami", says=(r"^Account \d{12}, us-east-1, as arn:aws:",)),
    Run(r"plaid-sync about", says=("^ *webhook URL +http", "^Next: plaid-sync smoke --local")),
    Run(
        r"plaid-sync keys set",
        as_run="""{} <<<'{"client_id": "local-client-id", "secret": "local-secret"}'""",
        says=("^Plaid's keys are stored, and http://.+ accepts them",),
    ),
    Run(r"plaid-sync smoke", shows=True),
    Run(r"plaid-sync retained", code=1, says=("^Remove all Items first", "^  aws dynamodb delete-table ")),
    # -- the proof -----------------------------------------------------------------------------------------------------
    Run(r"make model", as_run='{} ARGS="--without settling"', says=("^VIOLATION in",), in_project=True, why=_LONG),
    Run(r"python -m tests\.model --without NAME", says=("^VIOLATION in",), in_project=True),
    Run(r"make mutants", as_run='{} ARGS="--only replay-window"', says=("replay-window",), in_project=True, why=_LONG),
    Run(r"make fuzz", as_run='{} RUNS=50 ARGS="--target messages"', in_project=True, why=_LONG),
    Run(r"make conformance", as_run='{} ARGS="--quick --without-dynamodb-local"', in_project=True, why=_LONG),
    ByTest(
        "make dashboard", "tests/component/test_demo.py::test_every_widget_of_the_dashboard_shows_what_has_happened"
    ),
    Run(
        r"PYTHONPATH=layers/plaid_sync python -m tests\.bench\.audit",
        as_run="{} --transactions 600",
        in_project=True,
        why=_LONG,
    ),
    Run(r"make update", as_run=COPY + "{}", says=("^Now: make check",), why="the locks of this test are not to move"),
    Run(r"make format", says=("left unchanged|reformatted",), in_project=True),
    Run(
        r"git tag v1\.0\.0",
        as_run="git init --quiet tagged && cd tagged && git -c user.name=n -c user.email=e commit --quiet "
        "--allow-empty --message m && {} && git tag",
        says=("v1.0.0",),
    ),
    # -- the gate ------------------------------------------------------------------------------------------------------
    InGate("make (setup|test-artifact|template-lint|workflow-lint|imports|supply-chain|reproducible)"),
    InGate('make demo( ARGS="--seed 11")?', steps=("make demo",)),
    InGate("make build|sam build", steps=("make reproducible",)),  # which builds, and then once more
    InGate("make (build-local|sam-local)", steps=("make sam-local",)),  # which builds before
    InGate('make test( ARGS=".+")?', steps=("make test",)),
    InGate("make lint types imports", steps=("make lint", "make types", "make imports")),
    InGate("make lock", steps=("make locked",)),
    InGate(
        "make check", steps=("make lint", "make types", "make imports", "make locked", "make supply-chain", "make test")
    ),
    InGate("make faults( N=[0-9]+)?", steps=("make faults N=500",)),
    InGate("pip install --require-hashes", steps=("make setup",)),
)
