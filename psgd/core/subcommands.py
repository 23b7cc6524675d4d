"""The table of the subcommands of `psgd`: names and texts alone, so that its help is printed at once."""

from typing import NamedTuple


class Subcommand(NamedTuple):
    """A subcommand. Its module has `main(arguments)`, which returns the exit code, and `parser()`, of argparse."""

    module: str
    about: str


SUBCOMMANDS = {
    "train": Subcommand("psgd.jobs.launch.command", "train a network with parallel SGD"),
    "predict": Subcommand("psgd.predict", "predictions of a trained model for new data"),
    "plot": Subcommand("psgd.plot", "learning curves of runs as one picture"),
    "compare": Subcommand("psgd.compare.__main__", "which strategy reaches a target soonest, at what price"),
    "report": Subcommand("psgd.report", "rebuild the report of a comparison, without training"),
    "explain": Subcommand("psgd.explain", "how a run combined its workers, with its numbers"),
    "export": Subcommand("psgd.export", "convert a trained model for other programs"),
    "doctor": Subcommand("psgd.doctor.__main__", "check this machine: libraries, MPI, Ray, memory, cores"),
    "configs": Subcommand("psgd.configs", "list, print or copy the configs that come with psgd"),
    "completion": Subcommand("psgd.completion", "print the script that completes this command in bash or zsh"),
}
