#!/usr/bin/env python3
"""Train on Ray: `psgd train` with group ray, on a local Ray or a running cluster.

launch/ray_train.py CONFIG [key.path=value ...] [--address ADDRESS] [options of psgd train]
"""

import argparse
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent  # where psgd lies, unless it is installed
if (CHECKOUT / "psgd" / "train.py").is_file():
    sys.path.insert(0, str(CHECKOUT))

from psgd.jobs.launch.command import main as train  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="launch/ray_train.py", add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--address",
        help="of a running cluster (HOST:PORT, auto), or local; default: RAY_ADDRESS, or local",
    )
    options, others = parser.parse_known_args()
    if {"-h", "--help"} & set(others):
        parser.print_help()
        print("\nand what psgd train takes:\n")
    if options.address:
        os.environ["RAY_ADDRESS"] = options.address
    return train([*others, "group=ray"])


if __name__ == "__main__":
    sys.exit(main())
