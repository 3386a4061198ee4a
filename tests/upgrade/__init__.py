"""States of stacks of older versions, and how they are brought back to life."""
