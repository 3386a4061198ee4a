"""The sync of one Item: the protocol, its plan, its batch."""
