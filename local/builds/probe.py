"""Import a function out of a build and nothing else, as a cold start does: `python -I -S -B probe.py SERVICES FOLDERS`.

The standard library is all that it has beside the folders. It writes what it loaded as JSON to standard output.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

UNCHECKED_HASH = 1
"""The flags of bytecode that is taken as it is, whatever its source's time or content."""


def main(services: list[str], folders: list[str]) -> None:
    """Import, then make each client and use each module that is imported late."""
    sys.path[:0] = folders
    importlib.import_module("app")
    loaded = {name: file for name, file in _files() if file.startswith(tuple(folders))}
    print(json.dumps({"modules": sorted(loaded), "bytecode": sum(map(_bytecode, sorted(set(loaded.values()))))}))
    adapters = importlib.import_module("plaid_sync.adapters.aws")
    for service in services:
        adapters.client(service)
    _import_late(folders)


def _files() -> Iterator[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        if file := getattr(module, "__file__", None):
            yield name, file


def _bytecode(file: str) -> int:
    """Return the bytes of a module's bytecode; a library has none, and a function's own code comes as source.

    Raises:
        SystemExit: A layer's module has none, or such as Python would hold against its source.
    """
    if not file.endswith(".py") or Path(file).name == "app.py":
        return 0
    cached = Path(cache_from_source(file))
    if not cached.is_file():
        raise SystemExit(f"{file} has no bytecode: every cold start would compile it.")
    content = cached.read_bytes()
    if int.from_bytes(content[4:8], "little") != UNCHECKED_HASH:
        raise SystemExit(f"{file} has bytecode that Python checks against its source.")
    return len(content)


def _import_late(folders: list[str]) -> None:
    """Import all that is left of plaid-python, with what its models import when they are first used."""
    for folder in folders:
        for path in sorted(Path(folder, "plaid").rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            getattr(module, "lazy_import", lambda: None)()


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
