"""Translations between the ports and AWS or Plaid. The only code that knows either."""

from __future__ import annotations

import logging

# At DEBUG these log whole requests and answers: tokens, secrets and bank data, whatever level the root logger is
# raised to.
for _name in ("boto3", "botocore", "plaid", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)
