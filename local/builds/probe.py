"""Import a function from a build and nothing else, as a cold start does: `python -I -S -B probe.py SERVICES FOLDERS`.

Only the standard library and the folders are importable. Prints what was imported, which AWS clients exist then, and
how many bytes of AWS's models were read for them, as JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from importlib.util import cache_from_source
from pathlib import Path


def main(services: list[str], folders: list[str]) -> None:
    """Import the function, create each client, then import each module that is imported late."""
    sys.path[:0] = folders
    models: list[int] = []
    sys.addaudithook(lambda event, arguments: models.append(_model(arguments[0])) if event == "open" else None)
    importlib.import_module("app")
    read = sum(models)
    files = {name: str(getattr(module, "__file__", None)) for name, module in list(sys.modules.items())}
    imported = {name: file for name, file in files.items() if file.startswith(tuple(folders))}
    sizes = [_bytecode(file) for file in set(imported.values())]
    clients = [found.meta.service_model.service_name for found in gc.get_objects() if _is_client(found)]
    print(json.dumps({"modules": sorted(imported), "bytecode": sum(sizes), "clients": sorted(clients), "models": read}))
    aws = importlib.import_module("plaid_sync.aws.clients")
    for service in services:
        aws.client(service)
    for folder in folders:
        for path in sorted(Path(folder, "plaid").rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            getattr(module, "lazy_import", lambda: None)()


def _model(file: object) -> int:
    """Return the bytes of a file that is one of AWS's models."""
    path = str(file)
    return Path(path).stat().st_size if "/botocore/data/" in path and Path(path).is_file() else 0


def _is_client(found: object) -> bool:
    """Return whether an object is an AWS client: botocore makes a class for each service."""
    return any(base.__module__ == "botocore.client" and base.__name__ == "BaseClient" for base in type(found).__mro__)


def _bytecode(file: str) -> int:
    """Return the bytes of a layer module's bytecode: none of a shared library or of a function's own code."""
    if not file.endswith(".py") or Path(file).name == "app.py":
        return 0
    cached = Path(cache_from_source(file))
    if not cached.is_file():
        raise SystemExit(f"{file} has no bytecode: every cold start would compile it.")
    return cached.stat().st_size


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2:])
