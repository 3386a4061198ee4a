"""Lambda on this machine, without containers: built code, Lambda's paths, its runtime client and runtime emulator.

Each function runs in its own root file system: its built folder at /var/task and its layers merged at /opt, both
read-only, Python 3.13 at /var/lang, 512 MB at /tmp, a user without rights, and nothing else of the machine. AWS's
runtime interface client (awslambdaric) and runtime interface emulator, the one of `sam local`, drive it.
"""

from local.lambda_runtime.machine import Machine, RuntimeUnavailableError
from local.lambda_runtime.process import (
    BOOTSTRAP,
    EMULATOR_GONE,
    BuiltFunction,
    FunctionError,
    FunctionProcess,
    isolated,
)

__all__ = [
    "BOOTSTRAP",
    "EMULATOR_GONE",
    "BuiltFunction",
    "FunctionError",
    "FunctionProcess",
    "Machine",
    "RuntimeUnavailableError",
    "isolated",
]
