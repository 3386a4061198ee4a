"""The container engine that `sam local` runs on: the one that is there, or else one of our own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.containers.daemon import refuse_where_impossible, running_daemon
from local.containers.errors import NoContainerEngineError
from local.containers.image import base_image
from local.containers.programs import installed, obtained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from local.stack.paths import Places, Progress

__all__ = ["ContainerEngine", "NoContainerEngineError"]


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """An engine that runs.

    Attributes:
        environment: What `sam` and `docker` need in their environment to find it.
        options: What `sam local` needs on its command line.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()

    @classmethod
    @contextmanager
    def running(cls, places: Places, progress: Progress) -> Iterator[ContainerEngine]:
        """Use the engine that runs here, or run one for the time of the `with` block.

        Raises:
            NoContainerEngineError: Neither is possible.
        """
        if _answers():
            yield cls()
            return
        refuse_where_impossible()
        runtime = places.cache / "runtime"
        if not (runtime / ".installed").exists():
            raise NoContainerEngineError(
                "no container engine runs here (start Docker or Finch), and one of our own needs Lambda's runtime "
                "client (make .local/runtime/.installed)"
            )
        folder = places.cache / "containers"
        folder.mkdir(parents=True, exist_ok=True)
        programs = obtained(folder / "programs", progress)
        progress("starting a container engine")
        with running_daemon(programs, folder) as address:
            image = base_image(programs, address, runtime, progress)
            found_by = {"DOCKER_HOST": address, "PATH": programs.environment["PATH"]}
            yield cls(found_by, ("--skip-pull-image", "--invoke-image", image))


def _answers() -> bool:
    programs = installed()
    try:
        programs.run(["docker", "version", "--format", "{{.Server.Version}}"])
    except (NoContainerEngineError, FileNotFoundError):
        return False
    return True
