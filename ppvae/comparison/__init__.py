"""Comparisons of two bounds on one program (`bounds`), or of runs on the same rows (`held_out`)."""
