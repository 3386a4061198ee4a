"""What happens in the demo, one module for each part of it."""
