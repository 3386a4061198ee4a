"""Runs the demo: `python -m local.demo --help`."""

from __future__ import annotations

import sys

from local.demo.cli import main

if __name__ == "__main__":
    sys.exit(main())
