"""The locks: which there are, and that each names every package with its hash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from local.stack.paths import PROJECT
from tests.supply_chain.finding import Finding, found

if TYPE_CHECKING:
    from pathlib import Path

RUNTIME: Final = PROJECT / "layers" / "dependencies" / "requirements.txt"
_PINNED: Final = re.compile(r"[\w.-]+(\[[\w,-]+\])?==\S+")
_LOCK: Final = re.compile(r"-o (\S+)")


def locks() -> list[Path]:
    """Return the locks that `make lock` writes."""
    recipe = (PROJECT / "Makefile").read_text(encoding="utf-8").split("\nlock: ")[1].split("\n\n")[0]
    return [PROJECT / name for name in _LOCK.findall(recipe)]


def requirements(text: str) -> list[str]:
    """Return a lock's entries, each with its hashes on one line."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def complaints(name: str, text: str) -> list[str]:
    """Return what a lock leaves open."""
    entries = requirements(text)
    if not entries:
        return [f"{name}: empty"]
    return [
        f"{name}: {entry.split(' --hash')[0]}: {what}"
        for entry in entries
        for what, holds in (
            ("is not pinned with ==", bool(_PINNED.match(entry))),
            ("has no SHA-256", "--hash=sha256:" in entry),
        )
        if not holds
    ]


def check() -> Finding:
    """Look at all locks."""
    found_locks = locks()
    details, packages = [], 0
    for path in found_locks:
        name = str(path.relative_to(PROJECT))
        if not path.exists():
            details.append(f"{name}: missing; make lock writes it")
            continue
        text = path.read_text(encoding="utf-8")
        packages += len(requirements(text))
        details += complaints(name, text)
    return found("locks", f"{len(found_locks)} locks, {packages} packages, each pinned with hashes", details)
