"""Where the commands run: a folder, a shell, and the stack that `make local` keeps up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.stack.paths import PROJECT
from tests.documents.aws_cli import aws

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS: Final = PROJECT / ".local" / "tools"
_LOCAL: Final = """\
#!/bin/sh
# For the stack of this folder, as a reader says with --local there.
cd {folder} || exit 9
case " $* " in
  *" --local "*|*" --help "*) exec {program} "$@" ;;
  *) exec {program} "$@" --local ;;
esac
"""
_NEW_ITEM: Final = """\
#!/bin/sh
# Links a bank of the sandbox, and says which Item that is once its history is there.
item=$(plaid-sync link --json | python -c 'import json, sys; print(json.load(sys.stdin)["item_id"])') || exit 1
has-arrived "$item" && echo "$item"
"""
_HAS_ARRIVED: Final = """\
#!/bin/sh
# Waits for an Item's history.
until plaid-sync item "$1" | grep "(whole history)" >/dev/null; do sleep 0.5; done
"""
_PROFILE: Final = "[profile dev]\nregion = us-east-1\naws_access_key_id = a-developers\naws_secret_access_key = own\n"


@dataclass(frozen=True, slots=True)
class Workplace:
    """A folder with `.local/env`, once the stack is up."""

    folder: Path
    python313: str

    @classmethod
    def at(cls, folder: Path) -> Workplace:
        """Lay the folder out."""
        programs, home = folder / "bin", folder / "home"
        for path in (programs, home / ".aws"):
            path.mkdir(parents=True)
        own = Path(sys.executable).parent
        # Not links: a Python that is started through one does not know its environment.
        plain = {"aws": aws(TOOLS / "aws"), "python": own / "python", "uv": own / "uv", "sam": TOOLS / "sam/bin/sam"}
        texts = {name: f'#!/bin/sh\nexec {program} "$@"\n' for name, program in plain.items()}
        texts |= {"plaid-sync": _LOCAL.format(folder=folder, program=own / "plaid-sync"), "new-item": _NEW_ITEM}
        texts["has-arrived"] = _HAS_ARRIVED
        for name, text in texts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (home / ".aws" / "config").write_text(_PROFILE)
        ask = ["make", "--eval", 'found: ; @echo "$(PYTHON313)"', "found"]
        found = subprocess.run(ask, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()
        return cls(folder, found)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the commands; no variable of the developer's is in it."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "LANG", "SSL_"))}
        kept |= {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder / "home")}
        kept |= {"WORK": str(self.folder), "PROJECT": str(PROJECT), "AWS_PAGER": "", "SAM_CLI_TELEMETRY": "0"}
        kept["PYTHON313"] = self.python313
        env = self.folder / ".local" / "env"
        if env.exists():
            kept |= dict(line.split("=", 1) for line in env.read_text().splitlines())
        return kept | more

    def run(self, script: str, *, in_project: bool = False, **more: str) -> tuple[int, str]:
        """Run a script with bash; return its exit code and all that it put out."""
        done = subprocess.run(
            ["/bin/bash", "-uo", "pipefail", "-c", script],
            cwd=PROJECT if in_project else self.folder,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    @contextmanager
    def serving(self, script: str, ready: str, **more: str) -> Iterator[str]:
        """Run a script that serves until it is asked to end; the block begins when it says that it is ready.

        Raises:
            AssertionError: it ended before, or with anything but 0.
        """
        process = subprocess.Popen(
            ["/bin/bash", "-uo", "pipefail", "-c", f"exec {script}"],
            cwd=PROJECT,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if ready in line:
                    break
            else:
                raise AssertionError(said)
            yield said
        finally:
            # As Ctrl-C does: make and what it has started, in one go.
            os.killpg(process.pid, signal.SIGINT)
            said += process.stdout.read()
            process.stdout.close()
            status = process.wait()
        assert status in {0, -signal.SIGINT}, said  # make ends by the interrupt itself
        assert "Traceback" not in said, said
