"""psgd.fit on processes that kill themselves: `mpirun --with-ft ulfm -n 3 python tests/dying_fit.py DEATHS JSON`.

DEATHS: as of dying.py. JSON: arguments of psgd.fit; `end`: the round in which the callback ends the training; `calls`:
of psgd.fit, one after the other. Each survivor prints what the last call returns.
"""

import json
import sys

import dying
import fit_run


def main():
    arguments = json.loads(sys.argv[2])
    end, calls, output = arguments.pop("end", None), arguments.pop("calls", 1), arguments.pop("output", None)
    dying.prepare(sys.argv[1], 9)
    for _ in range(calls):
        fitted = fit_run.fit(output, callback=lambda progress: progress.round == end, **arguments)
    print(json.dumps({"first": fitted.first, "summary": fitted.summary, "history": fitted.history}))


if __name__ == "__main__":
    main()
