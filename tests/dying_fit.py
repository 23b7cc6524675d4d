"""psgd.fit on processes that kill themselves: `mpirun --with-ft ulfm -n 3 python tests/dying_fit.py DEATHS JSON`.

DEATHS: as of dying.py. JSON: arguments of psgd.fit; `end`: the round in which the callback ends the training. Each
survivor prints what it has.
"""

import json
import sys

import dying
import fit_run


def main():
    arguments, heard = json.loads(sys.argv[2]), []
    end = arguments.pop("end", None)

    def callback(progress):
        heard.append((progress.round, bool(progress.scores)))
        return progress.round == end

    dying.prepare(sys.argv[1], 9)
    fitted = fit_run.fit(arguments.pop("output", None), callback=callback, **arguments)
    print(json.dumps({"first": fitted.first, "heard": heard, "summary": fitted.summary, "history": fitted.history}))


if __name__ == "__main__":
    main()
