"""`python -m tests.conformance`, from the project's folder."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

# The engine's own package, where the layer puts it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "layers" / "plaid_sync"))

if __name__ == "__main__":
    sys.exit(import_module("tests.conformance.cli").main())
