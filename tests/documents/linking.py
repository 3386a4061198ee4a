"""Runs the program of docs/api.md, with somebody at the local Plaid who goes through Link; prints the Item."""

from __future__ import annotations

import os
import re
import sys
import uuid
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import urllib3

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"


def go_through_link(prompt: str) -> str:
    """Do what the user does; return the public token."""
    (token,) = re.findall(r"link-[\w-]+", prompt)
    url = os.environ["PLAID_BASE_URL"] + "/_sim/link"
    answer = urllib3.PoolManager().request("POST", url, json={"link_token": token, "login": str(uuid.uuid4())})
    return str(answer.json()["public_token"])


def main() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"input": go_through_link}
    with redirect_stdout(sys.stderr):
        exec(compile(program, str(DOCUMENT), "exec"), names)  # noqa: S102 - the document's program
    print(names["linked"]["item_id"])  # noqa: T201


if __name__ == "__main__":
    main()
