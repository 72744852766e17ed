"""What can be done with each layer, found out by doing it."""
