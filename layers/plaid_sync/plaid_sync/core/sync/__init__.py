"""The sync of one Item: what is pulled, what is written, and what becomes of a batch of triggers."""
