"""Further stacks of the template beside the one that all tests share, each with parameters of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from local.stack.deploy import put_stack
from local.stack.package import Packager
from local.stack.paths import Places, silent
from local.stack.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.stack import LocalStack
    from local.stack.package import Package


def packaged(stack: LocalStack, places: Places | None = None) -> Package:
    """Upload a project's template, by default this one's."""
    places = places or Places()
    return Packager(stack.client("s3"), places, silent).package(places.template)


@contextmanager
def stack_beside(stack: LocalStack, name: str, parameters: Mapping[str, str]) -> Iterator[Resources]:
    """Deploy the template once more, for the time of the `with` block."""
    formation = stack.client("cloudformation")
    put_stack(formation, name, packaged(stack), {"Stage": "local", **parameters})
    try:
        yield Resources.read(stack.emulator, name)
    finally:
        formation.delete_stack(StackName=name)
