"""A copy of the project to be mutated: what git knows or would add; environments and built layers are shared."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.stack.layers import built_layer
from local.stack.paths import PROJECT, Places, say
from local.stack.venv import make_emulator_venv
from tests.mutants.mutant import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mutants.mutant import Mutant

_SECONDS: Final = 300.0
_DEPENDENCIES: Final = "DependenciesLayer"


class NotRunError(Exception):
    """Something could not do its work, so that nothing is known; the text says why."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended.

    Attributes:
        output: what it printed, standard error included.
    """

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the project."""

    root: Path

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """Apply a mutant for the time of the block.

        Raises:
            RottenError: it does not fit the code.
        """
        original, path = text_of(mutant, self.root), self.root / mutant.file
        path.write_text(mutant.applied(original), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")

    def run(self, *arguments: str) -> Done:
        """Run Python in the copy, without leaving bytecode: two mutants of equal size look alike to it.

        Raises:
            NotRunError: it was ended after five minutes.
        """
        environment = os.environ | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([".", "layers/plaid_sync"]),
        }
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NotRunError(f"still running after {_SECONDS:.0f} s") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Done(process.returncode, output)


@contextmanager
def copied(project: Path = PROJECT) -> Iterator[Copy]:
    """Copy the project for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as directory:
        root = Path(directory)
        for name in _files(project):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project / name, root / name, follow_symlinks=False)
        _share(Places(project, project / ".local"), Places(root, root / ".local"))
        yield Copy(root)


def prepare(project: Path = PROJECT) -> None:
    """Make what all copies share, unless it is there: the emulator's environment and the dependencies' layer."""
    places = Places(project, project / ".local")
    make_emulator_venv(places, say)
    built_layer(_DEPENDENCIES, project / "layers" / "dependencies", places, say)


def _share(original: Places, copy: Places) -> None:
    copy.layers.mkdir(parents=True)
    copy.emulator_venv.symlink_to(original.emulator_venv.resolve())
    for built in original.layers.glob(f"{_DEPENDENCIES}-*"):
        (copy.layers / built.name).symlink_to(built.resolve())


def _files(project: Path) -> list[str]:
    # Deleted ones are listed, too.
    git = ["git", "-C", str(project), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, capture_output=True, check=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (project / name).is_file()]
