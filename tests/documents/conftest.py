"""Where the commands run: a folder, a shell, and the stack that `make local` keeps up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from local.stack.paths import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

AWS: Final = PROJECT / ".local" / "tools" / "aws" / "dist" / "aws"
SAM: Final = PROJECT / ".local" / "tools" / "sam" / "bin" / "sam"
INSTALL: Final = {"aws": "make aws-cli", "sam": "make template-lint", "curl": "your system's", "jq": "your system's"}
_LOCAL: Final = """\
#!/bin/sh
# plaid-sync of the environment; without --stack or --local it is for the stack of this folder.
cd {folder} || exit 9
case " $* " in
  *" --local "*|*" --help "*) exec {program} "$@" ;;
  *) exec {program} "$@" --local ;;
esac
"""
_NEW_ITEM: Final = """\
#!/bin/sh
# Links a bank of the sandbox, and prints the Item's id once its history is there.
item=$(plaid-sync link --json | python -c 'import json, sys; print(json.load(sys.stdin)["item_id"])') || exit 1
until plaid-sync item "$item" | grep "(whole history)" >/dev/null; do sleep 0.5; done
echo "$item"
"""
_PROFILE: Final = "[profile dev]\nregion = us-east-1\naws_access_key_id = a-developers\naws_secret_access_key = own\n"


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder with `.local/env`, once the stack is up."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Workplace:
        programs, home, own = folder / "bin", folder / "home", Path(sys.executable).parent
        for path in (programs, home / ".aws"):
            path.mkdir(parents=True)
        # Not links: a Python that is started through one does not know its environment.
        texts = {name: f'#!/bin/sh\nexec {own / name} "$@"\n' for name in ("python", "uv")}
        texts |= {"plaid-sync": _LOCAL.format(folder=folder, program=own / "plaid-sync"), "new-item": _NEW_ITEM}
        texts |= {tool.name: f'#!/bin/sh\nexec {tool} "$@"\n' for tool in (AWS, SAM) if tool.exists()}
        for name, text in texts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (home / ".aws" / "config").write_text(_PROFILE)
        return cls(folder)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the commands; it has no variable of the developer's."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "LANG", "SSL_"))}
        kept |= {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder / "home")}
        kept |= {"WORK": str(self.folder), "PROJECT": str(PROJECT), "AWS_PAGER": "", "SAM_CLI_TELEMETRY": "0"}
        env = self.folder / ".local" / "env"
        if env.exists():
            kept |= dict(line.split("=", 1) for line in env.read_text().splitlines())
        return kept | more

    def require(self, programs: str) -> None:
        """Skip the test where a program is missing, and say how to get it."""
        for program in programs.split():
            if shutil.which(program, path=self.environment()["PATH"]) is None:
                pytest.skip(f"{program} is missing (to install it: {INSTALL[program]})")

    def run(self, script: str, **more: str) -> tuple[int, str]:
        process = self._start(script, self.folder, more)
        output, _ = process.communicate()
        return process.returncode, output

    @contextmanager
    def serving(self, script: str, ready: str) -> Iterator[None]:
        """Run a script that serves until Ctrl-C; the block begins when it prints that it is ready.

        Raises:
            AssertionError: it ended before, or not in order.
        """
        process, output = self._start(f"exec {script}", PROJECT, {}), ""
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output += line
                if ready in line:
                    break
            else:
                raise AssertionError(output)
            yield
        finally:
            # As Ctrl-C does: make and what it has started, in one go.
            os.killpg(process.pid, signal.SIGINT)
            output += process.stdout.read()
            process.stdout.close()
            code = process.wait()
        assert code in {0, -signal.SIGINT}, output  # make ends by the interrupt itself
        assert "Traceback" not in output, output

    def _start(self, script: str, folder: Path, more: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/bash", "-uo", "pipefail", "-c", script],
            cwd=folder,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A folder beside which `make local` keeps the stack up."""
    place = Workplace.at(tmp_path_factory.mktemp("documents"))
    with place.serving('make local ARGS="--directory $WORK/.local"', "The local stack is ready"):
        yield place


@pytest.fixture(scope="session")
def item(workplace: Workplace) -> str:
    """An Item whose history is in the table, for the commands that need one."""
    code, output = workplace.run("new-item")
    assert code == 0, output
    return output.strip()
