"""The project's own template deployed on an AWS emulator on this machine: no Docker, no AWS account."""

from local.stack.emulator import Emulator
from local.stack.errors import LocalStackError
from local.stack.paths import Places
from local.stack.stack import LocalStack

__all__ = ["Emulator", "LocalStack", "LocalStackError", "Places"]
