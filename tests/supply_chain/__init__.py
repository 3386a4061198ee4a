"""What comes from outside, and what must not get out: `make supply-chain`."""
