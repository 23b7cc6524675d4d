"""Which environment variables mean that an MPI launcher started a process, and which were merely inherited."""

import os
import shlex
import socket
from contextlib import nullcontext as nothing

import pytest
from command import command, refused
from processes import installed_mpi, mpi, run

from psgd.core.errors import UsageError
from psgd.core.launcher import disconnected, launched, rank, unconnected_tasks
from psgd.core.launcher_processes import is_broken, launcher_line
from psgd.group.mpi.library import choose_protocol, spare_shared_memory
from psgd.jobs.choose.group import check_launched

NAMES = (
    *("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMI_FD", "PMI_PORT"),
    *("PMIX_RANK", "PMIX_NAMESPACE", "PMIX_SERVER_URI3", "MPI_LOCALNRANKS"),
)
SLURM_STEP = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}
# What srun --mpi=pmi2 -n 1 and --mpi=pmix -n 1 of Slurm 22.05 set.
SLURM_PMI2 = SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1", "PMI_JOBID": "50.0"}
SLURM_PMI2 |= {"PMI_FD": "0", "PMI_RANK": "0", "PMI_SIZE": "1"}
SLURM_PMIX = SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1", "PMIX_NAMESPACE": "slurm.pmix.33.0"}
SLURM_PMIX |= {"PMIX_RANK": "0", "PMIX_SERVER_URI3": "pmix-server.17002;tcp4://127.0.0.1:55057"}
__all__ = ["mpi"]  # a fixture


@pytest.fixture
def environment(monkeypatch):
    for name in (*NAMES, "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)

    def change(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


@pytest.mark.parametrize(
    ("variables", "started"),
    [
        ({}, False),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, True),
        ({"PMI_SIZE": "2"}, True),
        ({"PMI_SIZE": "1", "PMI_FD": "0"}, True),
        ({"PMI_SIZE": "1", "PMI_FD": "999999"}, False),  # an interactive shell that closed it
        ({"PMI_SIZE": "4", "PMI_FD": "999999"}, False),
        ({"PMI_SIZE": "4", "PMI_FD": "x"}, False),
        ({"PMI_SIZE": "1", "PMI_PORT": "host:1"}, True),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, False),
        ({"PMIX_RANK": "0", "PMIX_SERVER_URI3": "pmix-server.1;tcp4://127.0.0.1:1"}, True),
        ({"PMIX_RANK": "0", "PMIX_NAMESPACE": "slurm.pmix.11.0"}, False),
        (SLURM_PMI2, False),  # one task needs no MPI
        (SLURM_PMI2 | {"SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "2"}, True),
        (SLURM_PMI2 | {"MPI_LOCALNRANKS": "1"}, True),  # mpirun -n 1 of MPICH in such a task
        (SLURM_PMI2 | {"PMI_SIZE": "4"}, True),  # of several, whatever Slurm says
        (SLURM_PMIX, False),
        (SLURM_PMIX | {"SLURM_STEP_NUM_TASKS": "2"}, True),
        (SLURM_PMIX | {"PMIX_NAMESPACE": "prterun-node-16250@1"}, True),  # another launcher in such a task
        (SLURM_PMIX | {"OMPI_COMM_WORLD_SIZE": "1"}, True),
    ],
)
def test_a_launcher_is_one_that_answers(environment, variables, started):
    environment(variables)
    assert launched() == started


def test_a_connection_is_closed_once_a_program_has_used_it(environment):
    ours, launchers = socket.socketpair()
    environment({"PMI_SIZE": "4", "PMI_FD": str(ours.fileno())})
    assert (launched(), disconnected()) == (True, 0)
    launchers.close()
    assert (launched(), disconnected()) == (False, 4)
    ours.close()


@pytest.mark.parametrize(
    ("variables", "tasks"),
    [
        (SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "8"}, 4),
        (SLURM_STEP | {"SLURM_NTASKS": "4"}, 4),
        (SLURM_STEP | {"SLURM_NTASKS": "1"}, 0),
        (SLURM_STEP | {"SLURM_NTASKS": "4", "PMI_SIZE": "4"}, 0),  # an MPI connects them
        ({"SLURM_NTASKS": "4"}, 0),  # a batch script: srun or mpirun would start the tasks
    ],
)
def test_tasks_that_nothing_connects_are_counted(environment, variables, tasks):
    environment(variables)
    assert unconnected_tasks() == tasks


@pytest.mark.parametrize(
    ("variables", "lost"),
    [
        ({}, 0),
        ({"PMI_SIZE": "4", "PMI_FD": "999999"}, 4),
        ({"PMI_SIZE": "4", "PMI_FD": "0"}, 0),
        ({"PMI_SIZE": "1", "PMI_FD": "999999"}, 0),  # alone anyway
        ({"PMI_SIZE": "4"}, 0),
    ],
)
def test_processes_that_lost_their_launcher_are_refused(environment, variables, lost):
    environment(variables)
    assert disconnected() == lost
    refusal = r"started 4 processes .* let mpirun or srun start each program itself"
    with pytest.raises(UsageError, match=refusal) if lost else nothing():
        check_launched("auto", "group: auto or mpi")


@pytest.fixture
def proc(tmp_path):
    """Lists processes as /proc does; of the parent of this one, 0 is the id."""

    def write(listed):
        for number, (name, parent) in listed.items():
            directory = tmp_path / str(number or os.getppid())
            directory.mkdir(exist_ok=True)
            line = f"{directory.name} ({name}) S {parent} 1 1\n"
            (directory / "stat").write_bytes(line.encode(errors="surrogateescape"))
        return tmp_path

    return write


INTEL = {0: ("hydra_pmi_proxy", 402), 402: ("mpiexec.hydra", 403), 403: ("mpirun", 404), 404: ("bash", 1)}


@pytest.mark.parametrize(
    ("listed", "line"),
    [
        (INTEL, [402, 403]),
        ({0: ("a (b) c", 401), 401: ("prterun", 404), 404: ("bash", 405), 405: ("slurmstepd", 1)}, [401]),
        ({0: ("bash", 401), 401: ("bash", 1)}, []),
        ({0: ("entra\u00eeneme\udcc3", 401), 401: ("prterun", 1)}, [401]),  # a script, whose name the kernel cut
        ({}, []),  # nothing can be seen
    ],
)
def test_a_launcher_may_be_several_processes(proc, listed, line):
    assert launcher_line(proc(listed)) == [os.getppid(), *line]


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, False),
        ({402: ("mpiexec.hydra", 1)}, True),  # mpirun was killed
        ({402: ("mpiexec.hydra", 405), 405: ("slurmstepd", 1)}, True),  # which takes it over
        ({0: ("hydra_pmi_proxy", 1)}, True),
        ({403: ("mpirun", 1)}, False),  # the shell has ended, as after a logout
    ],
)
def test_a_launcher_is_gone_if_one_of_its_processes_is(proc, change, broken):
    line = launcher_line(proc(INTEL))
    assert is_broken(line, proc(change)) == broken
    assert not is_broken(line, proc({}) / "hidden"), "what cannot be seen is not gone"
    assert is_broken([os.getpid()]), "this process itself has another parent"


HYDRA = "MPICH Version: 5.0\nMPICH configure: --with-pm=hydra"


@pytest.mark.parametrize("names", [["PMIX_RANK"], ["PMIX_NAMESPACE"], ["PMIX_NAMESPACE", "PMIX_RANK"]])
def test_an_mpich_without_pmix_is_refused_instead_of_aborting(environment, names):
    environment(dict.fromkeys(names, "0"))
    with pytest.raises(UsageError, match=f"speaks PMIx .*srun --mpi=pmi2.*unset {' '.join(names)}$"):
        choose_protocol(HYDRA)
    choose_protocol("MPICH Version: 5.0\nMPICH configure: --with-pmix=/usr")
    choose_protocol("Open MPI v5.0.8")


@pytest.mark.parametrize(
    ("variables", "library", "version"),
    [
        ({"PMIX_NAMESPACE": "0", "PMI_FD": "6"}, HYDRA, "1"),  # mpirun in a shell of Slurm's
        ({"PMIX_NAMESPACE": "0", "PMI_FD": "6", "MPIR_CVAR_PMI_VERSION": "2"}, HYDRA, "2"),
        ({"PMI_FD": "6"}, HYDRA, None),
        ({"PMIX_NAMESPACE": "0", "PMI_FD": "6"}, "Open MPI v5.0.8", None),
    ],
)
def test_an_mpich_speaks_with_its_own_launcher(environment, monkeypatch, variables, library, version):
    monkeypatch.setenv("MPIR_CVAR_PMI_VERSION", "")
    monkeypatch.delenv("MPIR_CVAR_PMI_VERSION")  # and again afterwards
    environment(variables)
    choose_protocol(library)
    assert os.environ.get("MPIR_CVAR_PMI_VERSION") == version


def test_under_mpirun_what_another_launcher_left_behind_does_no_harm(mpi):
    left = {"PMIX_NAMESPACE": "slurm.pmix.11.0", "PMIX_RANK": "0"}
    finished = run(mpi.command(2, "-m", "psgd.doctor.mpi_rank"), **left)
    assert finished.code == 0, finished
    assert finished.stdout.count('{"processes": 2}') == 2


@pytest.mark.parametrize("task", [SLURM_PMIX, SLURM_PMI2])
def test_as_a_single_task_of_slurm_psgd_trains_alone(tmp_path, task):
    finished = run([*command(), "training.epochs=1", "--output", str(tmp_path / "run")], **task)
    assert finished.code == 0, finished
    assert "group: serial" in finished.stderr


def test_a_second_program_of_the_same_process_is_refused_where_mpich_would_abort(tmp_path):
    mpich = installed_mpi("mpich")
    train = shlex.join([*command(), "training.epochs=1", "--output", str(tmp_path / "run")])
    finished = run([str(mpich.bin / "mpirun"), "-n", "2", "sh", "-c", f"{train} && {train} --resume"])
    assert finished.code == 2, finished
    assert finished.stderr.count("or another program has used it") == 2, finished


def test_processes_of_srun_that_nothing_connects_are_refused(tmp_path):
    step = SLURM_STEP | {"SLURM_NTASKS": "4"}
    finished = run([*command(), "training.epochs=1", "--output", str(tmp_path / "run")], **step)
    refused(finished, 2, "srun started 4 processes, but no MPI connects them", "srun --mpi=pmix")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, 0),
        ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "2"}, 2),
        ({"PMI_SIZE": "3", "PMI_RANK": "1"}, 1),
        ({"PMI_SIZE": "3", "PMI_FD": "999999", "PMI_RANK": "1"}, 0),  # left behind
        ({"PMIX_RANK": "2", "PMIX_SERVER_URI3": "x"}, 2),
        ({"PMIX_RANK": "2"}, 0),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, 0),
    ],
)
def test_the_number_of_a_process(environment, variables, number):
    environment(variables)
    assert rank() == number


def test_an_mpich_leaves_shared_memory_to_others(monkeypatch):
    monkeypatch.setenv("UCX_TLS", "rc")
    spare_shared_memory(HYDRA)
    assert os.environ["UCX_TLS"] == "rc", "the user's"
    monkeypatch.delenv("UCX_TLS")
    spare_shared_memory("Open MPI v5.0.8")
    assert "UCX_TLS" not in os.environ, "Open MPI may send messages within a host by UCX"
    spare_shared_memory(HYDRA)
    assert os.environ["UCX_TLS"] == "^posix"
