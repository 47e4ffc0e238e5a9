"""What can be shown of a model: the gallery, waypoints, animations, and metrics as text."""
