"""Verdicts of a diagnosis on deliberately bad fits: are they right?

``uv run python -m tests.benchmarks.bad_fits`` fits seven programs with one bad part each, and the
same programs with a good part in its place. The true loss is the bound of the good fit minus that
of the bad one, on the same test rows. The diagnosis of the bad fit must name the bad part first,
and its size within a factor of two. ``--siblings`` adds more cases; ``--full`` diagnoses in full.

Finished runs and diagnoses are read, so the command resumes where it was stopped. The table is
written after each case, as Markdown and as CSV.
"""
