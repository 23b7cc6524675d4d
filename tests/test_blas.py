"""The BLAS is recorded and runs with one thread; a run warns where the environment selects a slow kernel."""

import json

import pytest
from processes import python

from psgd.backends import blas


@pytest.mark.parametrize(
    ("asked", "kernel", "flags", "said"),
    [
        (None, "Haswell", "avx avx2 avx512bw", None),
        ("Haswell", "Haswell", "avx avx2 avx512bw", "its Haswell kernel, but this CPU has AVX512BW"),
        ("Nehalem", "Nehalem", "avx avx2", "its Nehalem kernel, but this CPU has AVX2"),
        ("Haswell", "Zen", "avx avx2", None),
        ("SkylakeX", "SkylakeX", "avx avx2 avx512bw", None),
        ("Nehalem", "Nehalem", "sse2", None),
        ("Haswell", None, "avx avx2 avx512bw", "holds OpenBLAS"),
    ],
)
def test_a_kernel_below_the_cpus_is_reported_if_the_environment_selects_it(monkeypatch, asked, kernel, flags, said):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if asked:
        monkeypatch.setenv("OPENBLAS_CORETYPE", asked)
    monkeypatch.setattr(blas, "describe_blas", lambda: {"kernel": kernel})
    monkeypatch.setattr(blas, "_cpu_flags", lambda: set(flags.split()))
    warning = blas.kernel_warning()
    assert warning is None if said is None else said in str(warning)


def test_a_run_warns_of_a_slow_kernel_and_records_its_blas(tmp_path):
    if "avx2" not in blas._cpu_flags():
        pytest.skip("a CPU with AVX2, which can be held below what it has")
    arguments = ("training.epochs=1", "group=serial", "optimizer.name=sgd", "--output", str(tmp_path / "run"))
    finished = python("-m", "psgd.train", *arguments, OPENBLAS_CORETYPE="Nehalem")
    assert finished.code == 0, finished
    assert "warning: OPENBLAS_CORETYPE=Nehalem in the environment holds OpenBLAS" in finished.stderr
    described = json.loads((tmp_path / "run" / "environment.json").read_text())["processes"][0]["blas"]
    assert (described["kernel"], described["threads"]) == ("Nehalem", 1)
    assert described["scipy_version"]  # plain SGD on each worker's own parameters uses scipy's products


def test_calls_that_overlap_have_one_thread_until_the_last_one_ends():
    code = """
import numpy
from psgd.backends.blas import libraries, one_blas_thread
counts = lambda: [info["num_threads"] for info in libraries()]
before, first, second = counts(), one_blas_thread(), one_blas_thread()
assert [info["num_threads"] for info in first.__enter__()] == before
second.__enter__()
first.__exit__(None, None, None)
assert max(counts()) == 1
second.__exit__(None, None, None)
assert counts() == before and max(counts()) == 2
"""
    finished = python("-c", code, OPENBLAS_NUM_THREADS="2")
    assert finished.code == 0, finished


def test_a_process_forked_while_another_thread_changes_the_limits_does_not_wait_for_it():
    script = """if True:
        import os, signal
        from psgd.backends import blas
        blas._changing.acquire()
        if not os.fork():
            signal.alarm(20)
            with blas.one_blas_thread():
                os._exit(0)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert python("-c", script).stdout == "0\n"


def test_a_process_forked_while_another_thread_executes_a_block_restores_the_number_of_threads():
    script = """if True:
        import os, threading
        import numpy
        from threadpoolctl import threadpool_limits
        from psgd.backends import blas

        def execute_block():
            with blas.one_blas_thread():
                entered.set()
                forked.wait()

        entered, forked = threading.Event(), threading.Event()
        thread = threading.Thread(target=execute_block)
        thread.start()
        entered.wait()
        if not os.fork():
            threadpool_limits(2, user_api="blas")
            with blas.one_blas_thread():
                pass
            os._exit(blas.libraries()[0]["num_threads"])
        forked.set()
        thread.join()
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert python("-c", script, OPENBLAS_NUM_THREADS="2").stdout == "2\n"


def test_a_process_forked_within_a_block_can_leave_it():
    script = """if True:
        import os
        import numpy
        from psgd.backends import blas

        with blas.one_blas_thread():
            child = os.fork()
        number = blas.libraries()[0]["num_threads"]
        if not child:
            os._exit(number)
        print(number, os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert python("-c", script, OPENBLAS_NUM_THREADS="2").stdout == "2 2\n"
