"""HTTP: routes, answers, and the Items API wired together."""
