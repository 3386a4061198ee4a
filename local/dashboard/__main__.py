"""Draws the dashboard: `python -m local.dashboard --help`."""

from __future__ import annotations

import sys

from local.dashboard.cli import main

if __name__ == "__main__":
    sys.exit(main())
