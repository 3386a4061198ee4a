"""AWS adapters."""

from __future__ import annotations

import gc
import logging

# At DEBUG these log whole requests and responses: tokens, secrets and bank data. They stay at INFO even where the root
# logger is set to DEBUG.
for _name in ("boto3", "botocore", "urllib3"):
    logging.getLogger(_name).setLevel(logging.INFO)

# A start allocates what stays, and the collector would walk it some forty times, a twentieth of the start's CPU time.
# Garbage in cycles waits for so many more objects, a few MB.
gc.set_threshold(50_000)
