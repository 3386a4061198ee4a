"""What a machine needs to run functions as Lambda does."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from local.stack.paths import Places

PYTHON: Final = "python3.13"
_EMULATORS: Final = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


class RuntimeUnavailableError(Exception):
    """This machine can't run functions as Lambda does; the text says why, and what to do, in one line."""


@dataclass(frozen=True)
class Machine:
    """A machine that can run functions as Lambda does.

    Attributes:
        runtime: The virtual environment of CPython 3.13 with the runtime interface client, and nothing else.
        tools: The folder with the SAM CLI's environment, which ships the runtime interface emulator.
    """

    runtime: Path
    tools: Path

    @classmethod
    def this(cls, places: Places | None = None) -> Machine:
        cache = (places or Places()).cache
        machine = cls(cache / "runtime", cache / "tools")
        if sys.platform != "linux":
            raise RuntimeUnavailableError(f"Lambda's file system needs Linux, this is {sys.platform}.")
        if not (machine.packages / "awslambdaric").is_dir():
            raise RuntimeUnavailableError("The runtime interface client is missing: make .local/runtime/.installed")
        if not machine.emulator.is_file():
            raise RuntimeUnavailableError("The runtime interface emulator is missing: make .local/tools/.installed")
        machine.check_mount()
        return machine

    @property
    def packages(self) -> Path:
        return self.runtime / "lib" / PYTHON / "site-packages"

    @cached_property
    def python(self) -> Path:
        command = [str(self.runtime / "bin" / PYTHON), "-c", "import sys; print(sys.base_prefix)"]
        # The environment's own interpreter.
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 # nosec B603
        return Path(done.stdout.strip())

    @cached_property
    def emulator(self) -> Path:
        """The runtime interface emulator: a static program in the SAM CLI's package."""
        name = f"aws-lambda-rie-{_EMULATORS.get(platform.machine(), platform.machine())}"
        found = sorted(self.tools.glob(f"sam/lib/python3*/site-packages/samcli/local/rapid/{name}"))
        return found[-1] if found else self.tools / name

    @property
    def isolation(self) -> list[str]:
        """The command that runs another one in its own mount and process namespaces, which end with it."""
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return command if os.geteuid() == 0 else [*command, "--user", "--map-root-user"]

    @property
    def user(self) -> list[str]:
        """The options of `unshare` that run its command as Lambda's user, who has no rights."""
        if os.geteuid() == 0:
            return ["--setgid=990", "--setuid=993"]
        return ["--user", "--map-group=990", "--map-user=993"]

    def check_mount(self) -> None:
        """Check that this process may mount in a namespace."""
        if shutil.which("unshare") is None:
            raise RuntimeUnavailableError("unshare is missing: install util-linux (Debian: apt install util-linux).")
        command = [*self.isolation, "mount", "-t", "tmpfs", "probe", "/mnt"]
        # A program of util-linux; the mount is visible in its namespace only, and ends with it.
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RuntimeUnavailableError(
                f"Mounting is not permitted ({reason}): run as root, or allow unprivileged user namespaces."
            )
