"""A template as a graph of YAML nodes: an edit leaves everything else as written, `!Ref` included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from local.stack.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def compose(template: Path) -> yaml.Node:
    try:
        root = yaml.compose(template.read_text(), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise LocalStackError(f"{template} cannot be read: {error}") from error
    if root is None:
        raise LocalStackError(f"{template} is empty.")
    return root


def serialize(root: yaml.Node) -> str:
    return yaml.serialize(root, Dumper=yaml.SafeDumper)


def items(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """Iterate over a mapping; over nothing, where it is none."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, value


def child(node: yaml.Node | None, *path: str) -> yaml.Node | None:
    """Return what a mapping holds under a name, or under a path of names."""
    for name in path:
        node = dict(items(node)).get(name)
    return node


def local_path(node: yaml.Node | None) -> yaml.Node | None:
    """Return the node if it is a path in the project, not a URI, an object or an intrinsic function."""
    plain = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"
    return node if plain and node is not None and "://" not in node.value else None


def set_text(mapping: yaml.Node | None, name: str, text: str) -> None:
    """Put a text under a name."""
    if not isinstance(mapping, yaml.MappingNode):
        raise LocalStackError(f"The template has no mapping that could hold {name}.")
    tag = "tag:yaml.org,2002:str"
    kept = [(key, value) for key, value in mapping.value if key.value != name]
    mapping.value = [*kept, (yaml.ScalarNode(tag, name), yaml.ScalarNode(tag, text))]
