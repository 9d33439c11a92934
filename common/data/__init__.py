"""From the sources, or a folder in the course layout, to uint8 tensors."""
