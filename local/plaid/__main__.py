"""Runs the simulator: `python -m local.plaid --help`."""

from __future__ import annotations

import sys

from local.plaid.cli import main

if __name__ == "__main__":
    sys.exit(main())
