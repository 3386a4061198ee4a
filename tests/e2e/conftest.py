"""The fixtures of the integration tests, for tests of whole commands and of the built artifact."""

from __future__ import annotations

from tests.integration.conftest import behavior, clock, default_session, deployment, functions, stack, world

__all__ = ["behavior", "clock", "default_session", "deployment", "functions", "stack", "world"]
