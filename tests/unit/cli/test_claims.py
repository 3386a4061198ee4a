"""The claims of the field report are those of docs/first-deployment.md, and each names the document that needs it."""

from __future__ import annotations

import re

from plaid_sync_cli.claims import CLAIMS

from local.stack.paths import PROJECT

DOCUMENT = (PROJECT / "docs" / "first-deployment.md").read_text()
ROW = re.compile(r"^\| `([a-z-]+)` \| (.+?) \| \[[\w./-]+\]\(([\w./-]+)\) \| .+ \|$", re.MULTILINE)


def test_the_document_has_exactly_the_claims() -> None:
    rows = {claim_id: (text, (PROJECT / "docs" / path).resolve()) for claim_id, text, path in ROW.findall(DOCUMENT)}
    assert rows == {claim.id: (claim.text, PROJECT / claim.source) for claim in CLAIMS}
    assert all((PROJECT / claim.source).is_file() for claim in CLAIMS)


def test_the_steps_set_each_variable_before_they_use_it() -> None:
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL))
    known = {"PWD", "PATH"}
    for line in commands.splitlines():
        known |= set(re.findall(r"^for (\w+) in", line))
        assert set(re.findall(r"\$\{?(\w+)", line)) <= known, line
        known |= set(re.findall(r"^(\w+)=", line))


def test_the_steps_name_claims_that_exist() -> None:
    steps = DOCUMENT.split("\n## Claims\n")[0]
    named = set(re.findall(r"(?<!\*)\*([a-z-]+)\*(?!\*)", steps))
    assert named
    assert named <= {claim.id for claim in CLAIMS}
