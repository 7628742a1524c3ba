"""Tests run side by side, one process a core: each computes with one thread."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: threads of several processes on the same cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before jax is imported: it compiles for seconds what is run a few times.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
