"""`python -m local.builds`: see cli.py."""

from __future__ import annotations

import sys

from local.builds.cli import main

if __name__ == "__main__":
    sys.exit(main())
