"""The protocol of failure: the first process that failed reports, and all exit with its code."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from psgd.core.errors import DataError, Diverged, PsgdError, UsageError
from psgd.group.failure import Agreement, Ended
from psgd.group.serial import Serial
from psgd.group.threads import Threads, run_threads

Work = Callable[[Agreement, int], int]


def codes(processes: int, work: Work) -> list[int]:
    """The exit codes of `work(agreement, process)` in that many threads."""

    def main(transport: Threads) -> int:
        agreement = Agreement(transport)
        return agreement.conclude(lambda: work(agreement, transport.process))

    found: list[int] = run_threads(processes, 10.0, main)
    return found


def fail(failures: dict[int, Exception], process: int) -> int:
    if process in failures:
        raise failures[process]
    return process


def test_without_a_failure_every_process_gets_its_result(capsys):
    def work(agreement: Agreement, process: int) -> int:
        return agreement.together(lambda: 10 * process)

    assert codes(3, work) == [0, 10, 20]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("failures", "code", "said"),
    [
        ({1: UsageError("wrong")}, 2, "[1] psgd: wrong\n"),
        ({1: UsageError("wrong\nand this")}, 2, "[1] psgd: wrong\n[1] psgd: and this\n"),
        ({2: DataError("missing"), 1: UsageError("wrong")}, 2, "[1] psgd: wrong\n"),
        ({2: DataError("missing")}, 3, "[2] psgd: missing\n"),
        (
            {1: MemoryError("Unable to allocate 9 TiB")},
            2,
            "[1] psgd: there is not enough memory (Unable to allocate 9 TiB); lower the size of the model or data\n",
        ),
    ],
)
def test_the_first_process_that_failed_reports_and_all_exit_with_its_code(capsys, failures, code, said):
    def work(agreement: Agreement, process: int) -> int:
        agreement.together(lambda: fail(failures, process))
        raise AssertionError("goes on")

    assert codes(3, work) == [code] * 3
    assert capsys.readouterr().err == said


def test_an_exception_in_local_work_prints_one_traceback_and_exits_with_1(capsys):
    def work(agreement: Agreement, process: int) -> int:
        answer = agreement.attempt(lambda: fail({1: ZeroDivisionError("bug")}, process), -1)
        assert answer == (-1 if process == 1 else process)
        agreement.check()
        raise AssertionError("goes on")

    assert codes(3, work) == [1, 1, 1]
    said = capsys.readouterr().err
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("ZeroDivisionError: bug")


def test_the_first_failure_of_a_process_is_the_one_that_counts():
    agreement = Agreement(Serial())
    for failure in (UsageError("first"), DataError("second")):
        agreement.attempt(lambda failure=failure: fail({0: failure}, 0), 0)
    assert agreement.code == 2
    with pytest.raises(UsageError, match="first"):
        agreement.check()


def test_codes_may_be_part_of_another_exchange():
    agreement = Agreement(SimpleNamespace(process=5, members=(2, 5, 7)))  # type: ignore[arg-type]
    agreement.raise_if_failed([0, 0, 0])
    with pytest.raises(Ended) as ended:
        agreement.raise_if_failed([0, 0, 4])
    assert ended.value.code == 4
    agreement.failure = Diverged("own")
    with pytest.raises(Diverged):
        agreement.raise_if_failed([0, 4, 4])
    with pytest.raises(Ended):
        agreement.raise_if_failed([3, 4, 0])


def test_an_error_on_all_processes_is_reported_by_the_first(capsys):
    def work(agreement: Agreement, process: int) -> int:
        raise Diverged("not finite")

    assert codes(3, work) == [4, 4, 4]
    assert capsys.readouterr().err == "[0] psgd: not finite\n"


def aborted(error: Exception) -> object:
    """The code with which all leave if process 1 raises this between two exchanges."""

    def work(agreement: Agreement, process: int) -> int:
        fail({1: error}, process)
        agreement.check()
        raise AssertionError("goes on")

    with pytest.raises(SystemExit) as left:
        codes(3, work)
    return left.value.code


def test_an_exception_between_two_exchanges_aborts_all_processes(capsys):
    assert aborted(ZeroDivisionError("bug")) == 1
    said = capsys.readouterr().err
    assert said.count("Traceback") == 1
    assert said.rstrip().endswith("ZeroDivisionError: bug")


def test_too_little_memory_between_two_exchanges_is_one_line_with_its_code(capsys):
    assert aborted(MemoryError()) == 2  # as of bytearray, which does not say how much it wanted
    assert capsys.readouterr().err == "[1] psgd: there is not enough memory; lower the size of the model or data\n"


def test_failure_of_a_single_process(capsys):
    def fail() -> int:
        raise PsgdError("no")

    assert Agreement(Serial(), prefix="").conclude(lambda: 75) == 75
    assert Agreement(Serial(), prefix="").conclude(fail) == 1
    assert capsys.readouterr().err == "psgd: no\n"
