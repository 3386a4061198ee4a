"""An export in parts: a folder of files and a manifest, with which an interrupted export continues.

Each part is created atomically, and then the manifest that lists it. What is not in the manifest does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from plaid_sync_cli.errors import CommandError, usage_error
from plaid_sync_cli.export_formats import write_rows
from plaid_sync_cli.output import private_file, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from plaid_sync_cli.export_formats import Row
    from plaid_sync_cli.export_sources import Position, Selection, Source

MANIFEST: Final = "_manifest.json"
"""Athena and Spark ignore files whose names begin with an underscore."""
PART_ROWS: Final = 100_000
_VERSION: Final = 1
_PARTIAL: Final = re.compile(rf"\.{re.escape(MANIFEST)}\.\w+")
_OWN: Final = re.compile(rf"{_PARTIAL.pattern}|part-\d{{6,}}\.\w+|\.part-\d{{6,}}\.\w+\.\w+")
"""Files of an export. Where there is no manifest yet, there is no part of it either: others are the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A complete file of an export.

    Attributes:
        rows: how many transactions it has.
        sha256: of the file, in hexadecimal.
        first: the position of its first row; None if it has none.
        last: the position of its last row.
        unreadable: the ids of its damaged rows.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    first: Position | None
    last: Position | None
    unreadable: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in the folder.

    Attributes:
        options: what the export was started with: format, source, query and size of a part.
        complete: whether the parts have all selected rows.
    """

    options: dict[str, Any]
    parts: tuple[Part, ...] = ()
    complete: bool = False
    version: int = field(default=_VERSION)

    @property
    def rows(self) -> int:
        """How many transactions the parts have."""
        return sum(part.rows for part in self.parts)

    @property
    def unreadable(self) -> list[str]:
        """The ids of all damaged rows."""
        return [transaction_id for part in self.parts for transaction_id in part.unreadable]

    def save(self, folder: Path) -> Manifest:
        """Replace the stored manifest atomically."""
        with private_file(folder / MANIFEST) as stream:
            stream.write(to_json(asdict(self) | {"rows": self.rows}, indent=2) + "\n")
        return self


@dataclass(frozen=True, slots=True)
class PartedExport:
    """An export into a folder.

    Attributes:
        part_rows: how many rows a part has; the last one has fewer.
    """

    folder: Path
    source: Source
    selection: Selection
    file_format: str
    part_rows: int = PART_ROWS

    def run(self, query: dict[str, Any], advance: Callable[[int], None]) -> Manifest:
        """Write what is missing, and return the complete manifest.

        Args:
            query: what selects the rows, as JSON: an export with another one does not continue this one.
            advance: called with the number of newly finished rows.

        Raises:
            CommandError: the folder has another export or other files, or a part in it was changed.
        """
        options = {"format": self.file_format, **self.source.name, **query, "part_rows": self.part_rows}
        with _locked(self.folder):
            manifest = self._begun(options)
            advance(manifest.rows)
            return manifest if manifest.complete else self._continue(manifest, advance)

    def _begun(self, options: dict[str, Any]) -> Manifest:
        """Return the manifest of the folder, which may be empty, and remove what an interrupted run has left."""
        manifest = _read_manifest(self.folder)
        if manifest is None:
            _remove(self.folder, _PARTIAL)
            if any(self.folder.iterdir()):
                raise usage_error(f"--directory {self.folder} has other files", "Give a new or an empty folder.")
            return Manifest(options=options).save(self.folder)
        names = sorted(manifest.options.keys() | options.keys())
        differing = [name for name in names if manifest.options.get(name) != options.get(name)]
        if differing:
            raise usage_error(
                f"--directory {self.folder} has an export with another {', '.join(differing)}",
                "Give the options of that export to continue it, or another folder.",
            )
        _remove(self.folder, _OWN, {part.file for part in manifest.parts})
        for part in manifest.parts:
            _verify(self.folder / part.file, part)
        return manifest

    def _continue(self, manifest: Manifest, advance: Callable[[int], None]) -> Manifest:
        after = manifest.parts[-1].last if manifest.parts else None
        rows = ((position, row) for position, row in self.source.rows(after) if self.selection.has(row))
        following = next(rows, None)
        while following is not None or not manifest.parts:  # an export without rows has one part: readers expect one
            taken = chain(() if following is None else (following,), islice(rows, self.part_rows - 1))
            part = self._write(len(manifest.parts) + 1, taken, advance)
            following = next(rows, None)
            manifest = replace(manifest, parts=(*manifest.parts, part), complete=following is None).save(self.folder)
        return manifest if manifest.complete else replace(manifest, complete=True).save(self.folder)

    def _write(self, number: int, rows: Iterator[tuple[Position, Row]], advance: Callable[[int], None]) -> Part:
        path = self.folder / f"part-{number:06}.{self.file_format}"
        ends: list[Position | None] = [None, None]

        def noted() -> Iterator[Row]:
            for position, row in rows:
                ends[:] = [ends[0] or position, position]
                yield row

        with private_file(path, binary=self.file_format == "parquet") as stream:
            count, unreadable = write_rows(noted(), stream, self.file_format, advance)
        size, digest = _measure(path)
        first, last = ends
        return Part(
            file=path.name, rows=count, bytes=size, sha256=digest, first=first, last=last, unreadable=unreadable
        )


def _read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder; None if it has none.

    Raises:
        CommandError: it is unreadable, or of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        parts = tuple(Part(**part) for part in found["parts"])
        manifest = Manifest(options=found["options"], parts=parts, complete=found["complete"], version=found["version"])
    except (ValueError, LookupError, TypeError) as error:
        raise usage_error(f"{path} is unreadable", "Give another folder.") from error
    if manifest.version != _VERSION:
        raise usage_error(f"{path} is of version {manifest.version}", "Continue it with the version that began it.")
    return manifest


def _remove(folder: Path, pattern: re.Pattern[str], listed: Collection[str] = ()) -> None:
    """Remove what a process that died has left: partial files, and a part that the manifest does not list."""
    for path in folder.iterdir():
        if path.name not in listed and pattern.fullmatch(path.name):
            path.unlink()


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as stream:
        return path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(path: Path, part: Part) -> None:
    if not path.is_file() or _measure(path) != (part.bytes, part.sha256):
        raise CommandError(f"{path} is missing, or not as it was written", "Export into another folder.")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create a folder that only its owner may read, if it does not exist, and keep other exports out of it."""
    import fcntl  # noqa: PLC0415 - Windows has none, and all other commands do without

    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise usage_error(f"--directory {folder}: another export writes into it", "Wait until it ends.") from error
        yield
    finally:
        os.close(handle)
