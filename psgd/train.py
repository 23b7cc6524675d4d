"""Training. `python -m psgd.train` is the command; imported, this module is the function `psgd.train`."""

import sys
from typing import Any

if __name__ == "__main__":
    from psgd.jobs.launch.command import main
    from psgd.training.signals import leave

    leave(main())
else:
    from psgd.jobs.train_function import train

    # `import psgd.train` binds psgd.train to what it finds here. A module in its place would hide the function.
    function: Any = train
    sys.modules[__name__] = function
