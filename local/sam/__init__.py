"""Run the built functions in containers with `sam local`, against the local stack."""
