"""Build the template's layers through the Makefile targets that `sam build` calls, for this machine's Python.

A built layer is kept by a digest of all that it is made from, so only the first start after a change pays for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local.stack.errors import LocalStackError
from local.stack.venv import exclusive

if TYPE_CHECKING:
    from local.stack.paths import Places, Progress

KEPT_BUILDS = 3
IGNORED = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})


def built_layer(logical_id: str, source: Path, places: Places, progress: Progress) -> Path:
    """Return the folder with the built layer, building it first if its content is new."""
    built = places.layers / f"{logical_id}-{_digest(source)}"
    with exclusive(places.layers / f"{logical_id}.lock"):
        if not built.is_dir():
            progress(f"building layer {logical_id}")
            _build(logical_id, source, built, places.emulator_python)
        built.touch()
        _forget_unused(logical_id, places.layers)
    return built


def _forget_unused(logical_id: str, layers: Path) -> None:
    """Remove all but the last used builds of a layer: they are large, and a running stack may use an older one."""
    builds = sorted(layers.glob(f"{logical_id}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for build in builds[KEPT_BUILDS:]:
        shutil.rmtree(build, ignore_errors=True)


def _digest(source: Path) -> str:
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {sysconfig.get_platform()}".encode())
    for path in sorted(path for path in source.rglob("*") if path.is_file() and IGNORED.isdisjoint(path.parts)):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(source)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _build(logical_id: str, source: Path, built: Path, python: Path) -> None:
    """Build into a temporary folder beside `built`, which thus exists only when it is complete.

    The functions' own interpreter builds: the layer fits it, and it has pip.
    """
    with tempfile.TemporaryDirectory(dir=built.parent, ignore_cleanup_errors=True) as temporary:
        # As SAM does: make runs in a copy of the source.
        copy, artifacts = Path(temporary, "source"), Path(temporary, "artifacts")
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*IGNORED))
        artifacts.mkdir()
        _make(logical_id, copy, artifacts, python)
        artifacts.rename(built)


def _make(logical_id: str, source: Path, artifacts: Path, python: Path) -> None:
    make = shutil.which("make")
    if make is None:
        raise LocalStackError("make is needed to build the layers: install it (Debian: apt install make).")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        "ARTIFACTS_DIR": str(artifacts),
        "LAYER_PLATFORM": "host",
        "LAYER_PYTHON": str(python),
    }
    command = [make, "--directory", str(source), f"build-{logical_id}"]
    # The project's own Makefile.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-3000:]
        raise LocalStackError(f"Layer {logical_id} could not be built (make -C {source} build-{logical_id}):\n{output}")
