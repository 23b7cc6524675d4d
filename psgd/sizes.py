"""How much memory a job's vectors take."""

from psgd.job import Job
from psgd.turns import bytes_of


def shared_bytes(job: Job) -> int:
    """The most that one host shares: every contribution, two replicas, sums and the folded vector; permutations."""
    needs = job.strategy.needs
    vectors = (job.workers * 2 + 1) * needs.contribution_rows + 2 * (1 + needs.state_rows)
    permutations = max(bytes_of(job.deal.examples, processes) for processes in range(1, job.workers + 1))
    return int(vectors * job.learner.size * job.learner.dtype.itemsize) + permutations
