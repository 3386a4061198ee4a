"""A build as it lies on disk: the layers and functions that Lambda gets."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MACHINES: Final = {0x3E: "x86_64", 0xB7: "arm64"}
"""The architectures by the number that an ELF file has at its 18th byte."""


class BuildError(Exception):
    """A build that is missing or not as it must be; the text says what to do."""


@dataclass(frozen=True)
class Part:
    """A layer or a function.

    Attributes:
        name: Its logical id.
        folder: What is unpacked on /opt or /var/task.
    """

    name: str
    folder: Path

    @cached_property
    def files(self) -> list[Path]:
        """Its files, in order."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of its names, permissions and contents."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            name, mode = path.relative_to(self.folder).as_posix(), path.stat().st_mode & 0o777
            digest.update(f"{name}\0{mode:o}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    @cached_property
    def unpacked(self) -> int:
        """Its bytes as Lambda counts them against 250 MB."""
        return sum(path.stat().st_size for path in self.files)

    @cached_property
    def zipped(self) -> int:
        """Its bytes on the way to Lambda."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in self.files:
                entry = zipfile.ZipInfo(path.relative_to(self.folder).as_posix())
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        return len(buffer.getvalue())

    def architectures(self) -> Iterator[str]:
        """Yield the architecture of each of its shared libraries."""
        for path in self.files:
            if path.suffix == ".so":
                yield MACHINES.get(int.from_bytes(path.read_bytes()[18:20], "little"), "another")


@dataclass(frozen=True)
class Build:
    """What `sam build` has made.

    Attributes:
        layers: The dependencies, and the engine, which goes over them.
    """

    folder: Path
    layers: tuple[Part, ...]
    functions: tuple[Part, ...]

    @classmethod
    def read(cls, folder: Path) -> Build:
        """Find the parts in `folder`.

        Raises:
            BuildError: There are none.
        """
        parts = [Part(path.name, path) for path in sorted(folder.glob("*")) if path.is_dir()]
        layers = tuple(part for part in parts if (part.folder / "python").is_dir())
        functions = tuple(part for part in parts if (part.folder / "app.py").is_file())
        if not layers or not functions:
            raise BuildError(f"{folder} holds no build: make one with `make build`, or name it with --build.")
        return cls(folder, layers, functions)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that is uploaded."""
        return (*self.layers, *self.functions)

    @property
    def digest(self) -> str:
        """The hash of the build: two builds of one commit have the same."""
        lines = "".join(f"{part.name} {part.digest}\n" for part in self.parts)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def architecture(self) -> str:
        """What its shared libraries run on.

        Raises:
            BuildError: They differ, or there are none.
        """
        found = sorted({name for part in self.parts for name in part.architectures()})
        if len(found) != 1:
            raise BuildError(f"{self.folder} has libraries for {' and '.join(found) or 'nothing'}: build it again.")
        return found[0]
