from __future__ import annotations

import pytest

from tests.template import operations
from tests.template.cloudformation import PROJECT, Template


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.parse((PROJECT / "template.yaml").read_text())


@pytest.fixture(scope="session")
def alarms() -> Template:
    return operations.read("alarms")


@pytest.fixture(scope="session")
def dashboard() -> Template:
    return operations.read("dashboard")


@pytest.fixture(scope="session")
def queries() -> Template:
    return operations.read("queries")
