"""Lambda on this machine, without containers: built code under Lambda's paths, runtime client and runtime emulator.

A function runs in a root of its own that holds nothing else of the machine: its built folder at /var/task and its
layers merged at /opt, both read-only, Python 3.13 at /var/lang, 512 MB at /tmp, and a user without rights. It is driven
by AWS's own runtime interface client (awslambdaric) and runtime interface emulator, the one of `sam local`.
"""

from local.lambda_runtime.errors import EMULATOR_GONE, FunctionError, RuntimeUnavailableError
from local.lambda_runtime.machine import Machine
from local.lambda_runtime.process import BuiltFunction, FunctionProcess

__all__ = ["EMULATOR_GONE", "BuiltFunction", "FunctionError", "FunctionProcess", "Machine", "RuntimeUnavailableError"]
