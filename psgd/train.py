"""The command `python -m psgd.train`. When it is imported, the function `psgd.train` takes the place of this module."""

import sys
from typing import Any

if __name__ == "__main__":
    from psgd.jobs.launch.command import main
    from psgd.training.signals import leave

    leave(main())
else:
    from psgd.jobs.train_function import train

    # After `import psgd.train`, Python binds psgd.train to what this name stands for: a module would hide the function.
    function: Any = train
    sys.modules[__name__] = function
