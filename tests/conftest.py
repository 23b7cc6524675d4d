"""Set one BLAS thread before numpy is imported, as every worker does, and keep tests off the network."""

import os
import signal

import pytest

from psgd.backends.blas import limit_before_numpy

limit_before_numpy()
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would each compile psgd and its libraries anew
for slower in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # psgd warns of them, and would in every test of a command
    os.environ.pop(slower, None)
os.environ["PSGD_MIRROR"] = "http://127.0.0.1:9"  # nothing listens there: downloads fail at once
for ignored in (signal.SIGINT, signal.SIGHUP):  # by a shell that started the suite in the background, or by nohup
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)

# Files whose tests take longest together: they begin first, so that at the end no process waits for one of them.
LONGEST = (
    *("test_readme", "test_mpi", "test_ray", "test_examples", "test_compare_command", "test_gpu_check", "test_faults"),
    *("test_choose_device", "test_numba_cache", "test_cuda_loop", "test_sklearn", "test_resume", "test_fit"),
    *("test_ray_gpu", "test_cuda_compiled", "test_probe", "test_closed_forms", "test_train", "test_run_directory"),
    "test_right_gradients",
)


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    yield
    from processes import kill_running

    kill_running()


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONGEST)))  # stable: the others stay as they are
