"""Settings of all tests: they run in one process per core, each with one thread."""

import os
from collections.abc import Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: threads of several processes on the same cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before jax is imported: it compiles for seconds what is run a few times.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture(autouse=True, scope="session")
def compiled_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled code for this session only, outside of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
        yield
