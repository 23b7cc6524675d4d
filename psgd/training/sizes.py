"""How much memory a job's vectors take."""

from psgd.training.job import Job


def shared_bytes(job: Job) -> int:
    """The most that one host shares: every contribution, two replicas, sums and the folded vector."""
    needs = job.strategy.needs
    vectors = (job.workers * 2 + 1) * needs.contribution_rows + 2 * (1 + needs.state_rows)
    return int(vectors * job.learner.size * job.learner.dtype.itemsize)
