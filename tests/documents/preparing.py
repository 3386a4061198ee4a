"""What a reader fills in, and what has to be so before a command is run: in the shell, as the commands are."""

from __future__ import annotations

import re
from typing import Final

FILLED_IN: Final = (
    (r" --stack plaid-sync$", ""),
    (r"\[(ITEM_)?ID(\.\.\.)?\]|\b(ITEM_)?ID\.\.\.|\bITEM_ID\b|\bID\b(?!=)", "$ITEM"),
    (r"\bNAME\b", "settling"),
    (r"\bFILE\b", '"$PROJECT/tests/events/webhook_forged_body.json"'),
    (r"\bTABLE\b", "$TRANSACTIONS_TABLE"),
    (r"\bCLIENT_USER_ID\b", "user-17"),
    (r"\bmy-event\.json\b", "tests/events/sync_batch_of_two_items.json"),
    (r"http://127\.0\.0\.1:3000/webhooks/plaid", '"$WEBHOOK_URL"'),
    (r"--restore-date-time …", '--restore-date-time "$(date --utc +%Y-%m-%dT%H:%M:%SZ)"'),
)

NEW: Final = "ITEM=$(new-item) || exit 9; "
"""An Item of its own, where the command can't be said of one twice."""
DEAD_LETTERS: Final = 'python "$PROJECT/tests/documents/dead_letters.py" || exit 9; '
"""Two messages in the dead-letter queue."""
DRIFTED: Final = """
id=$(plaid-sync export "$ITEM" | head -1 | python -c 'import json; print(json.loads(input())["transaction_id"])')
aws dynamodb update-item --table-name "$TRANSACTIONS_TABLE" --update-expression "SET amount = :wrong" \
    --key "{\\"item_id\\": {\\"S\\": \\"$ITEM\\"}, \\"transaction_id\\": {\\"S\\": \\"$id\\"}}" \
    --expression-attribute-values '{":wrong": {"N": "0.01"}}'
"""
"""Somebody has changed an amount in the table."""
DOOMED_KEY: Final = """
KEY=$(aws kms create-key --query KeyMetadata.KeyId --output text)
aws kms schedule-key-deletion --key-id "$KEY" --pending-window-in-days 30
"""
OF_A_USER: Final = """
ITEM=$(python "$PROJECT/tests/documents/linking.py" 2>/dev/null) && has-arrived "$ITEM" || exit 9
"""
"""An Item of the user user-17, linked as an application does it."""
COPY: Final = """
mkdir copy && cd "$PROJECT" || exit 9
git ls-files -z --cached --others --exclude-standard | xargs -0 cp -p --parents -t "$WORK/copy" && cd "$WORK"
cd copy && git init --quiet && git add --all && ln -s "$PROJECT/.venv" .venv
"""
"""A copy of the repository, for what changes its files."""
UNBUILT: Final = """
mkdir -p "$WORK/unbuilt" && ln -sfn -t "$WORK/unbuilt" "$PROJECT"/{template.yaml,functions,layers,infra} || exit 9
"""
"""A template as `sam build` leaves one, of code that nobody runs; what is deployed by it goes onto the emulator."""
HERE: Final = ' --directory "$WORK/.local"'
"""The stack of this folder, for what looks for the repository's."""
INVOKED: Final = 'unset ITEM; {} ARGS="--directory $WORK/.local"'
"""The same, about no particular Item."""


def filled_in(text: str) -> str:
    """Return a command as a reader would complete it."""
    for pattern, value in FILLED_IN:
        text = re.sub(pattern, value, text)
    return text
