"""The generation protocol, explored: every interleaving of two workers, Plaid and the queue within bounds.

The workers are the real engine (`BatchProcessor`, `SyncEngine`, `Puller`, `plan`): `replay` runs it against recorded
answers up to its next call. Only what lies behind its ports is modelled: Plaid's log, the FIFO queue, and the
conditions of the two tables. `docs/protocol.md` states the invariants. `python -m tests.model --help` runs it.
"""
