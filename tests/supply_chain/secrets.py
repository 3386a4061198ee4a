"""The secrets scan: what looks like a secret, and is in the repository, is a fake that `fakes.toml` explains."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from local.stack.paths import PROJECT
from tests.supply_chain.finding import Finding, found, run_tool

FAKES: Final = Path(__file__).with_name("fakes.toml")
_HASHES: Final = r"(^|/)requirements[a-z-]*\.txt$"
"""The locks: thousands of hashes, and nothing else (the check of the locks says so)."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A place that looks like a secret; the scan tells the value's SHA-1 only."""

    file: str
    line: int
    kind: str
    digest: str


@dataclass(frozen=True, slots=True)
class Fake:
    """A group of places that are none.

    Attributes:
        files: a pattern.
        kind: detect-secrets' name for what it looks like.
        values: the values that may stand there, or empty for any.
        why: why it is no secret.
    """

    files: str
    kind: str
    values: tuple[str, ...]
    why: str

    def explains(self, suspect: Suspect) -> bool:
        """Tell whether this is one of them."""
        digests = {hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest() for value in self.values}
        known = not digests or suspect.digest in digests
        return fnmatch(suspect.file, self.files) and suspect.kind == self.kind and known


def fakes(text: str) -> list[Fake]:
    """Read the list."""
    return [
        Fake(entry["files"], entry["kind"], tuple(entry.get("values", ())), entry["why"])
        for entry in tomllib.loads(text)["fake"]
    ]


def judge(suspects: list[Suspect], known: list[Fake]) -> list[str]:
    """Return what nothing explains, and what explains nothing any more."""
    open_ones = [
        f"{one.file}:{one.line}: {one.kind}. A real one: revoke it, then take it out. A fake: say so in {FAKES.name}"
        for one in suspects
        if not any(fake.explains(one) for fake in known)
    ]
    stale = [
        f"{FAKES.name}: nothing is there any more for {fake.files}, {fake.kind} ({fake.why})"
        for fake in known
        if not any(fake.explains(one) for one in suspects)
    ]
    return open_ones + stale


def scan(folder: Path | None = None) -> list[Suspect]:
    """Scan all that git knows, or all files of another folder. Nothing leaves the machine."""
    where = ["--cores", str(os.cpu_count() or 1), "-C", str(folder or PROJECT)]
    options = ["--no-verify", "--exclude-files", _HASHES, "--exclude-files", rf"(^|/){FAKES.name}$"]
    which = ["--all-files"] if folder else []
    results = json.loads(run_tool("detect-secrets", *where, "scan", *options, *which, fine=(0,)))["results"]
    return [
        Suspect(file, one["line_number"], one["type"], one["hashed_secret"])
        for file, found_there in results.items()
        for one in found_there
    ]


def check() -> Finding:
    """Scan the repository."""
    suspects, known = scan(), fakes(FAKES.read_text(encoding="utf-8"))
    line = f"{len(suspects)} places look like secrets, {len(known)} reasons why they are none"
    return found("secrets", line, judge(suspects, known))
