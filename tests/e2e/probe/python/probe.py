"""A layer for tests: wraps a function's handler, and answers questions about the function's process.

It runs in Lambda's file system, with the standard library alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

_LAYERS = Path("/opt/python")
_UNCHECKED_HASH = 0b01
_HEADER = 16
compiled: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "compile":
        compiled.append(str(arguments[1]))


sys.addaudithook(_note)
# Imported when Lambda imports it: while the sandbox is initialized.
_module, _, _name = os.environ["PROBED_HANDLER"].rpartition(".")
_handler = getattr(importlib.import_module(_module), _name)


def lambda_handler(event: dict[str, Any], context: object) -> Any:
    match event:
        case {"probe": "modules"}:
            return {"files": _files(), "compiled": compiled}
        case {"probe": "bytecode"}:
            return {str(source): fault for source in _sources() if (fault := _fault_of_bytecode(source))}
        case {"probe": "sandbox", "paths": [*paths]}:
            return _sandbox(paths)
    return _handler(event, context)


def _files() -> dict[str, str]:
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    return {name: file for name, file in files.items() if file}


def _sources() -> list[Path]:
    return sorted(source for source in _LAYERS.rglob("*.py") if source != Path(__file__))


def _fault_of_bytecode(source: Path) -> str | None:
    """Return why a source's bytecode is unused or wrong, if it is."""
    cached = Path(importlib.util.cache_from_source(str(source)))
    if not cached.is_file():
        return "has no bytecode"
    header = cached.read_bytes()[:_HEADER]
    if header[:4] != importlib.util.MAGIC_NUMBER:
        return "is for another Python"
    if int.from_bytes(header[4:8], "little") != _UNCHECKED_HASH:
        return "is checked against its source"
    if header[8:] != importlib.util.source_hash(source.read_bytes()):
        return "is stale"
    return None


def _sandbox(paths: list[str]) -> dict[str, Any]:
    return {
        "user": os.getuid(),
        "folder": str(Path.cwd()),
        "python": sys.version_info[:2],
        "variables": dict(os.environ),
        "writable": [path for path in paths if _can_write(Path(path))],
        "existing": [path for path in paths if Path(path).exists()],
    }


def _can_write(folder: Path) -> bool:
    try:
        (folder / "probe").write_bytes(b"1" * 4096)
    except OSError:
        return False
    (folder / "probe").unlink()
    return True
