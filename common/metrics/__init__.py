"""Numbers for sets of faces."""
