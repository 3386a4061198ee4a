"""Package a template for deployment: what `sam build` and `sam package` do, into the emulator's S3.

The template is edited as a graph of YAML nodes, not as data: everything but the local paths arrives as written.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.stack.errors import LocalStackError
from local.stack.layers import IGNORED, built_layer
from local.stack.nodes import child, compose, items, local_path, serialize

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

    from local.stack.paths import Places, Progress

BUCKET = "artifacts"


@dataclass(frozen=True, slots=True)
class Package:
    """A template that can be deployed."""

    url: str
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True)
class Packager:
    """Uploads a template and all that it names by a local path."""

    s3: Any
    places: Places
    progress: Progress

    def package(self, template: Path) -> Package:
        root = compose(template)
        for logical_id, resource in items(child(root, "Resources")):
            kind, properties = child(resource, "Type"), child(resource, "Properties")
            if kind is not None and properties is not None:
                self._upload_paths(template.parent, logical_id, kind.value, resource, properties)
        text = serialize(root)
        key = self._put(f"{template.stem}.yaml", text.encode())
        url = f"{self.s3.meta.endpoint_url}/{BUCKET}/{key}"
        return Package(url, frozenset(name for name, _ in items(child(root, "Parameters"))))

    def _upload_paths(
        self, folder: Path, logical_id: str, kind: str, resource: yaml.Node, properties: yaml.Node
    ) -> None:
        match kind:
            case "AWS::Serverless::Function" if code := local_path(child(properties, "CodeUri")):
                code.value = self._uri(logical_id, zipped_folder(folder / code.value))
            case "AWS::Serverless::LayerVersion" if content := local_path(child(properties, "ContentUri")):
                content.value = self._uri(logical_id, self._layer(logical_id, folder / content.value, resource))
            case "AWS::Serverless::Application" if location := local_path(child(properties, "Location")):
                location.value = self.package(folder / location.value).url

    def _layer(self, logical_id: str, source: Path, resource: yaml.Node) -> bytes:
        method = child(resource, "Metadata", "BuildMethod")
        if method is None:
            return zipped_folder(source)
        if method.value != "makefile":
            raise LocalStackError(f"{logical_id}: BuildMethod {method.value} is not built locally, only makefile is.")
        return linked_layer(built_layer(logical_id, source, self.places, self.progress))

    def _uri(self, name: str, content: bytes) -> str:
        return f"s3://{BUCKET}/{self._put(f'{name}.zip', content)}"

    def _put(self, name: str, content: bytes) -> str:
        key = f"{hashlib.sha256(content).hexdigest()[:16]}/{name}"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return key


def zipped_folder(folder: Path) -> bytes:
    """Return the folder as a zip file, the same bytes for the same content."""
    if not folder.is_dir():
        raise LocalStackError(f"The template names {folder}, which is not a folder.")
    return _zip(
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and IGNORED.isdisjoint(path.parts)
        }
    )


def linked_layer(built: Path) -> bytes:
    """Return a layer that puts the built layer's `python` folder on the import path where it is.

    The emulator unpacks every layer for every process it starts: with the dependencies' thousands of files, a cold
    start would take seconds. It honours `.pth` files in a layer's site-packages as AWS does, so one line will do.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    link = f"import sys; sys.path.insert(0, {json.dumps(str((built / 'python').resolve()))})\n"
    return _zip({f"python/lib/{version}/site-packages/layer.pth": link.encode()})


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()
