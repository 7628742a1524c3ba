"""The Python state that a program reaches: found, recorded, compared and restored."""
