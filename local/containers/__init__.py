"""A container engine for `sam local` where there is none: no installation, no registry, nothing left behind."""

from local.containers.engine import ContainerEngine, NoContainerEngineError

__all__ = ["ContainerEngine", "NoContainerEngineError"]
