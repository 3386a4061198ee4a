"""The functions of a built template, as it says itself that they are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from local.lambda_runtime import BuiltFunction
from tests.template.cloudformation import Template

if TYPE_CHECKING:
    from pathlib import Path

LAYER: Final = "AWS::Serverless::LayerVersion"


def built_functions(folder: Path) -> dict[str, BuiltFunction]:
    """Return the functions of the template in `folder` by their short names: `webhook`, `sync`.

    Raises:
        pytest.UsageError: Nothing is built there.
    """
    path = folder.resolve() / "template.yaml"
    if not path.is_file():
        raise pytest.UsageError(f"--artifact {folder} holds no built template: make build-local")
    template = Template.parse(path.read_text())
    layers = {name: path.parent / found["Properties"]["ContentUri"] for name, found in template.of(LAYER).items()}
    return {
        logical_id.removesuffix("Function").lower(): BuiltFunction(
            name=logical_id,
            handler=properties["Handler"],
            task=path.parent / properties["CodeUri"],
            layers=tuple(layers[layer["Ref"]] for layer in properties["Layers"]),
            timeout=properties["Timeout"],
            memory=properties["MemorySize"],
        )
        for logical_id, properties in template.functions.items()
    }
