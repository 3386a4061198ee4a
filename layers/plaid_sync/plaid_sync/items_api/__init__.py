"""The Items API."""
