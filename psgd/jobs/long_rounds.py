"""What to say of rounds that deal more examples than the training or an epoch has: training ends with a whole round."""

from psgd.config.settings import Settings
from psgd.training.job import Job


def warnings(settings: Settings, job: Job) -> list[str]:
    """Return the warnings about a job, each with advice, in the words of a config."""
    found, period = [], "" if settings.averaging is None else "strategy.period, "
    examples = sum(job.strategy.plan.steps(0)) * job.batch
    if examples >= 2 * job.end:
        found.append(
            f"warning: a round deals {examples} examples, more than the {job.end} of training.epochs; lower {period}"
            "training.batch_size_per_worker or workers, or raise training.epochs"
        )
    together, epoch = job.workers * job.batch, job.sampler.examples
    if together > epoch:
        found.append(
            f"warning: a step of all workers uses {together} examples, more than the {epoch} of an epoch: it counts as "
            "several; lower training.batch_size_per_worker or workers"
        )
    return found
