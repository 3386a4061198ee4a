"""Unpacks the AWS CLI 2 out of the locked package: `python -m tests.documents.aws_cli LOCK FOLDER`.

It is AWS's own program for Linux on x86-64. On other machines the tests take the `aws` that is installed there.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

RUNS_HERE: Final = (platform.system(), platform.machine()) == ("Linux", "x86_64")


def aws(folder: Path) -> Path:
    """Return the program.

    Raises:
        FileNotFoundError: there is none; the text says what to do.
    """
    unpacked, own = folder / "dist" / "aws", shutil.which("aws")
    if unpacked.exists():
        return unpacked
    if own and "aws-cli/2" in subprocess.run([own, "--version"], capture_output=True, text=True, check=False).stdout:
        return Path(own)
    raise FileNotFoundError(f"There is no AWS CLI 2 in {folder} (make test puts it there) nor on PATH: install it.")


def unpack(lock: Path, folder: Path) -> None:
    """Install the program into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not RUNS_HERE:
        return
    with tempfile.TemporaryDirectory() as name:
        package = Path(name)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--target", name]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, "--requirement", lock], check=True)
        (archive,) = package.rglob("asset-awscli-v2@*.jsii.tgz")
        with tarfile.open(archive) as tar:
            tar.extract("package/lib/layer.zip", package, filter="data")
        with zipfile.ZipFile(package / "package" / "lib" / "layer.zip") as layer:
            layer.extractall(package / "layer")  # noqa: S202 - its hash is locked
        (dist,) = (package / "layer").glob("awscli/v2/*/dist")
        shutil.rmtree(folder / "dist", ignore_errors=True)
        shutil.copytree(dist, folder / "dist")
    (folder / "dist" / "aws").chmod(0o755)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
