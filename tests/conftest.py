"""Tests run side by side, one process a core: each computes with one thread."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: threads of several processes on the same cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
