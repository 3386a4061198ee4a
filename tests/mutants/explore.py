"""Explores one scenario of the model with the engine as it is here; exits with 1 and names what it breaks."""

from __future__ import annotations

import sys

from tests.model.explore import explore
from tests.model.scenarios import SMALL

if __name__ == "__main__":
    wanted = [scenario for scenario in SMALL if scenario.name == sys.argv[1]]
    if not wanted:
        sys.exit(f"no scenario of the model is called {sys.argv[1]!r}")
    violations = [found.violation for found in map(explore, wanted) if found.violation]
    for violation in violations:
        sys.stdout.write(f"violation: {violation.what} (in {len(violation.trace)} steps)\n")
    sys.exit(bool(violations))
