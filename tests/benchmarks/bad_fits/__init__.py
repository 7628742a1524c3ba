"""Is the verdict right? Fits that are bad on purpose, diagnosed.

``uv run python -m tests.benchmarks.bad_fits`` fits seven programs with one bad part each, and the
same with a good part in its place. What the bad one lacks of the good one's bound, on the same test
rows, is the true loss. A diagnosis of the bad fit must name its part first, and a size within a
factor of two. ``--siblings`` has others of the same kind; ``--full`` diagnoses in full, not quick.

Runs and diagnoses that are there are read, so that the command goes on where it was stopped. The
table is written after each, as Markdown and as CSV.
"""
