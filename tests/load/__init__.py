"""Load on the local stack: `python -m tests.load --help`."""
