"""A model checker for the generation protocol: every interleaving of two workers, Plaid and the queue, within bounds.

The workers are the engine itself (`BatchProcessor`, `SyncEngine`, `Puller`, `UpdatePlanner`): `replay` runs it against
recorded responses up to its next call. Only what is behind its ports is modeled: Plaid's log of changes, the FIFO
queue, and the conditions of the two tables. `docs/protocol.md` states the invariants. `python -m
tests.simulation.model --help` shows how to run it.
"""
