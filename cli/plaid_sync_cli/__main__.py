"""`python -m plaid_sync_cli`."""

from __future__ import annotations

from plaid_sync_cli import main

if __name__ == "__main__":
    main()
