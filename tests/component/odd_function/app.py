"""A function that fails in the way that its event requests."""

from __future__ import annotations

import os
import time
from typing import Any

memory: list[str] = []


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    """Do what the event requests."""
    memory.append(event["do"])
    match event["do"]:
        case "raise":
            raise LookupError("nothing of that name")
        case "sleep":
            time.sleep(60)
        case "exit":
            os._exit(3)
        case "time":
            return context.get_remaining_time_in_millis()
        case "large":
            return "x" * event["size"]
    return memory
