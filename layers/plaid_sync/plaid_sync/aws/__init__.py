"""AWS adapters."""

from __future__ import annotations

import logging

# At DEBUG these log whole requests and responses: tokens, secrets and bank data. They stay at INFO even where the root
# logger is set to DEBUG.
for _name in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)
