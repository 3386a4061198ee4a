"""What the core needs from the outside, as protocols that the adapters fulfil."""
