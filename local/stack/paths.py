"""The paths of the project and of its `.local` folder, all of which can be made again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

PROJECT = Path(__file__).resolve().parents[2]

Progress: TypeAlias = Callable[[str], None]


def say(line: str) -> None:
    """Report progress as a line on standard error."""
    print(f"local: {line}", file=sys.stderr, flush=True)


def silent(_line: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one project that the local stack reads and writes.

    Attributes:
        cache: The folder for what can be used again: the emulator's environment and the built layers.
        run: The folder for what belongs to one running stack.
    """

    project: Path = PROJECT
    cache: Path = PROJECT / ".local"
    run: Path = PROJECT / ".local"
    emulator_lock: Path = PROJECT / "local" / "requirements.txt"

    @property
    def template(self) -> Path:
        return self.project / "template.yaml"

    @property
    def emulator_venv(self) -> Path:
        return self.cache / "emulator"

    @property
    def emulator_python(self) -> Path:
        return self.emulator_venv / "bin" / "python"

    @property
    def layers(self) -> Path:
        return self.cache / "layers"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def temporary(self) -> Path:
        return self.run / "tmp"

    @property
    def lock(self) -> Path:
        return self.run / "stack.lock"

    @property
    def env(self) -> Path:
        """The dotenv file that exists exactly while `make local` is ready."""
        return self.run / "env"

    @property
    def built(self) -> Path:
        """The functions and layers as `make build-local` builds them, a folder each."""
        return self.project / ".aws-sam" / "local"

    @property
    def sam_template(self) -> Path:
        """The template for `sam local`, which exists as long as `sam_env`."""
        return self.run / "sam" / "template.yaml"

    @property
    def sam_env(self) -> Path:
        """The functions' environment for `sam local`, which exists while `make local ARGS=--containers` is ready."""
        return self.run / "sam" / "env.json"

    @property
    def left_behind(self) -> tuple[Path, ...]:
        """What a stack that was killed leaves, and the next one removes."""
        return (self.env, self.sam_template, self.sam_env)
