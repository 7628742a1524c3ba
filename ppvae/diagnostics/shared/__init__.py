"""Code shared by several questions."""
