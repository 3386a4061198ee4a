"""A build on disk: the layers and functions that a deployment uploads."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MACHINES: Final = {0x3E: "x86_64", 0xB7: "arm64"}
"""The architectures by the number in bytes 18 and 19 of an ELF file."""


class BuildError(Exception):
    """The build is missing or broken; the text says what to do."""


@dataclass(frozen=True)
class Part:
    """A layer or a function.

    Attributes:
        folder: What Lambda mounts at /opt or /var/task.
    """

    name: str
    folder: Path

    @cached_property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of all names, permissions and contents."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            name, mode = path.relative_to(self.folder).as_posix(), path.stat().st_mode & 0o777
            digest.update(f"{name}\0{mode:o}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    @cached_property
    def unpacked(self) -> int:
        """Its bytes, as Lambda counts them against 250 MB."""
        return sum(path.stat().st_size for path in self.files)

    @cached_property
    def zipped(self) -> int:
        """Its bytes, as a deployment uploads them."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in self.files:
                entry = zipfile.ZipInfo(path.relative_to(self.folder).as_posix())
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        return len(buffer.getvalue())


@dataclass(frozen=True)
class Build:
    """The output of `sam build`."""

    folder: Path
    layers: tuple[Part, ...]
    functions: tuple[Part, ...]

    @classmethod
    def read(cls, folder: Path) -> Build:
        parts = [Part(path.name, path) for path in sorted(folder.glob("*")) if path.is_dir()]
        layers = tuple(part for part in parts if (part.folder / "python").is_dir())
        functions = tuple(part for part in parts if (part.folder / "app.py").is_file())
        if not layers or not functions:
            raise BuildError(f"{folder} holds no build: run `make build`, or name another folder with --build.")
        return cls(folder, layers, functions)

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.layers, *self.functions)

    @property
    def digest(self) -> str:
        """The hash of the build: every build of a commit has the same one."""
        lines = "".join(f"{part.name} {part.digest}\n" for part in self.parts)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def architecture(self) -> str:
        """The architecture of all shared libraries."""
        libraries = [path for part in self.parts for path in part.files if path.suffix == ".so"]
        machines = {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries}
        found = sorted(MACHINES.get(machine, "an unknown machine") for machine in machines)
        if len(found) != 1:
            raise BuildError(f"{self.folder} has libraries for {' and '.join(found) or 'no machine'}: build it again.")
        return found[0]
