"""Speed, measured side by side; each command prints a ratio."""
