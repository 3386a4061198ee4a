"""The life of an Item: its states, what leads from one to the next, and its end."""
