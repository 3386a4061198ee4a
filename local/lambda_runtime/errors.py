"""What goes wrong with a function, and with a machine that is to run one."""

from __future__ import annotations

from typing import Final

EMULATOR_GONE: Final = "Emulator.Gone"
"""The kind of a failure that is not the function's: whoever invokes it has ended it meanwhile."""


class RuntimeUnavailableError(Exception):
    """This machine can't run functions as Lambda does; the text says why, and what to do, in one line."""


class FunctionError(Exception):
    """A function raised, ended or ran out of time.

    Attributes:
        kind: Lambda's `errorType`: an exception's name, `Sandbox.Timedout` or the like.
        message: Lambda's `errorMessage`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
