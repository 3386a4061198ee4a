"""The levels at which libraries log."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
import {package}
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, force=True)
logging.getLogger("{library}").debug("a whole request")
logging.getLogger("another").debug("root logs at DEBUG")
"""


@pytest.mark.parametrize(
    ("package", "library"),
    [
        ("plaid_sync.aws", "boto3.resources"),
        ("plaid_sync.aws", "botocore.endpoint"),
        ("plaid_sync.aws", "urllib3.connectionpool"),
        ("plaid_sync.plaid", "plaid.rest"),
        ("plaid_sync.plaid", "urllib3.connectionpool"),
    ],
)
def test_no_library_logs_requests_or_responses_at_any_log_level(package: str, library: str) -> None:
    """In a process of its own: here, other packages change the levels, too."""
    program = PROGRAM.format(package=package, library=library)
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "root logs at DEBUG" in output
    assert "a whole request" not in output
