"""Fixtures: the precisions. What is no fixture is in `problems`."""

import os
import tempfile

import jax
import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if not WORKER:  # what one test or command has compiled is there for the others
    CACHE = tempfile.TemporaryDirectory()
    os.environ["KJKO_CACHE"] = CACHE.name
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # XLA tells of each program that it reads
jax.config.update("jax_compilation_cache_dir", os.environ["KJKO_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
if WORKER and hasattr(os, "sched_setaffinity"):  # threads of two workers would wait for each other
    CORES = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {CORES[int(WORKER.removeprefix("gw")) % len(CORES)]})
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 4)  # those beyond the first for tests of several


@pytest.fixture(scope="module", autouse=True)
def forget_what_is_compiled():
    """Compiled functions take maps of memory; a process has 65,530 and crashes without one."""
    yield
    jax.clear_caches()


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["single", "double"])
def tolerance(request):
    """Both precisions, each with what an identity must hold to in it."""
    with jax.enable_x64(request.param == "double"):
        yield 1e-10 if request.param == "double" else 5e-4


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left with one at the end."""
    longest = ("test_devices", "test_sweeps", "test_history", "test_ensembles")
    items.sort(key=lambda item: item.path.stem not in longest)
