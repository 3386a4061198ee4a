"""What the Items API asks for and shows."""
