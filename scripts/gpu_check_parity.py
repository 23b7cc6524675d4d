"""The stages `parity` and `wide` of gpu_check: networks on the device against psgd's own steps on the CPU.

Networks A, C, D and E keep float32's rounding small: after 50 steps, numpy's float32 is within 5e-6 of float64, as a
share of the distance moved. In B it grows, since sums that are nearly 0 before a relu fall on one side or the other:
numpy's own float32 ends 1e-3 to 1e-1 from float64, and so does any other that is right. There float32 is compared after
a few steps, and what it is after 50 is only told. float64, whose kernels are the same text, is compared after 50
everywhere: there the same cause moves B by 1e-13. The wide network is another such, of which numpy takes few steps:
its float32 is 2e-4 to 5e-3 from float64 after two.
"""

from itertools import product

import numpy as np
from bench_step import STORED
from gpu_check_stage import Record, opener
from gpu_training import FLOAT32, FLOAT64, ON_GPU, RULES, Training, share

from psgd.backends.cuda.device import Device

STEPS = 50
MOST = {FLOAT32: 1e-4, FLOAT64: 1e-8}  # of the distance moved
AS_FAR_AS_NUMPY = 5.0  # times the distance of numpy's float32 from float64, if that is more
ROUNDING_GROWS = ("B",)
MOST_TF32 = 1e-2
FEW = 2  # steps of B in float32, and of the wide network, which takes the CPU long


def parity(record: Record) -> None:
    gpu = opener(record.pretend)()
    steps, counts = (6, (1, 2)) if record.pretend else (STEPS, (1, 8))
    for name, rule in product("E" if record.pretend else "EDCBA", RULES):
        against_numpy(record, gpu, name, rule, steps, counts)
    if not record.pretend:
        tf32(record, gpu)


def wide(record: Record) -> None:
    """All workers take the same batches, of which the CPU takes a few steps. After more, it is only told how far
    float32 is from float64, both on the device."""
    gpu, network, steps = opener(record.pretend)(), ON_GPU["wide"], STEPS
    if record.pretend:
        network, steps = network._replace(sizes=(784, 24, 24, 10), batch=16), 2 * FEW
        STORED[784] = 500  # examples: a pretended GPU looks at all of its memory again and again
    for rule in RULES:
        single, double = (Training(network, rule, dtype) for dtype in (FLOAT32, FLOAT64))
        rows_S1B = single.rows(steps, 1)
        few_SB = rows_S1B[:FEW, 0]
        record.at(f"{rule}: on the CPU")
        wanted = [double.by_numpy(few_SB)]
        own = share(single.by_numpy(few_SB)[0], wanted[0][0], double.start)
        most = {FLOAT32: max(MOST[FLOAT32], AS_FAR_AS_NUMPY * own), FLOAT64: MOST[FLOAT64]}
        for workers, training in product((1, 2) if record.pretend else (1, 8), (single, double)):
            what = f"{rule}, {training.dtype}, {workers} workers, {FEW} steps"
            record.at(what)
            far, off = apart(training, gpu, rows_S1B[:FEW], wanted, workers)
            record.within(what, far, most[training.dtype])
            record.within(f"{what}, loss", off, max(1e-5, most[training.dtype]))
        record.at(f"{rule}, {steps} steps")
        ends = []
        for training in (single, double):
            found = training.on(gpu, 1)
            found.train(rows_S1B)
            ends.append(found.parameters()[0])
        record.figure(f"{rule}, {steps} steps, float32 from float64", f"{share(*ends, double.start):.2g}")


def against_numpy(record: Record, gpu: Device, name: str, rule: str, steps: int, counts: tuple[int, ...]) -> None:
    """Workers with even and odd numbers take different batches: only two references must be computed."""
    single, double = (Training(ON_GPU[name], rule, dtype) for dtype in (FLOAT32, FLOAT64))
    rows_S2B = single.rows(steps, 2)
    few = min(FEW, steps) if name in ROUNDING_GROWS else steps
    record.at(f"network {name}, {rule}: on the CPU")
    exact = references(double, rows_S2B)
    rounded = references(single, rows_S2B[:few])
    exact_few = exact if few == steps else references(double, rows_S2B[:few])
    own = max(share(rounded[kind][0], exact_few[kind][0], double.start) for kind in range(2))
    most = max(MOST[FLOAT32], AS_FAR_AS_NUMPY * own)
    for workers in counts:
        for training, taken, wanted, bound in ((single, few, rounded, most), (double, steps, exact, MOST[FLOAT64])):
            what = f"network {name}, {rule}, {training.dtype}, {workers} workers, {taken} steps"
            record.at(what)
            far, off = apart(training, gpu, rows_S2B[:taken], wanted, workers)
            record.within(what, far, bound)
            record.within(f"{what}, loss", off, max(1e-5, bound) if training is single else bound)
            if training.fits(gpu, workers) and (not record.pretend or (training.dtype, rule) == (FLOAT32, "adam")):
                record.at(f"{what}, in one launch")
                far, off = apart(training, gpu, rows_S2B[:taken], wanted, workers, whole=True)
                record.within(f"{what}, in one launch", far, bound)
                record.within(f"{what}, in one launch, loss", off, max(1e-5, bound) if training is single else bound)
    if few < steps:
        record.at(f"network {name}, {rule}, float32, {steps} steps")
        own = share(references(single, rows_S2B)[0][0], exact[0][0], double.start)
        far = apart(single, gpu, rows_S2B, exact, 1)[0]
        told = f"{far:.2g} on the device, {own:.2g} on the CPU"
        record.figure(f"network {name}, {rule}, {steps} steps, float32 from float64", told)


def references(training: Training, rows_S2B: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Train both kinds of workers with numpy; return the parameters and the sum of losses of each."""
    return [training.by_numpy(rows_S2B[:, kind]) for kind in range(2)]


def apart(
    training: Training,
    gpu: Device,
    rows_S2B: np.ndarray,
    wanted: list[tuple[np.ndarray, float]],
    workers: int,
    whole: bool = False,
) -> tuple[float, float]:
    """The largest distance of a worker from its reference, as a share of the distance moved, and that of the losses."""
    found, kinds = training.on(gpu, workers, whole), np.arange(workers) % len(wanted)
    losses = found.train(rows_S2B[:, kinds])
    parameters = found.parameters()
    far = [share(parameters[slot], wanted[kind][0], training.start) for slot, kind in enumerate(kinds)]
    off = [abs(losses[slot] / wanted[kind][1] - 1) for slot, kind in enumerate(kinds)]
    return float(np.max(far)), float(np.max(off))


def tf32(record: Record, gpu: Device) -> None:
    """Record the error of TF32 on networks A and C, which do not make roundings grow."""
    for name in "AC":
        exact, rounded = (Training(ON_GPU[name], "sgd", tf32=each).on(gpu, 1) for each in (False, True))
        rows = exact.training.rows(STEPS, 1)
        record.at(f"network {name}, TF32")
        exact.train(rows)
        rounded.train(rows)
        far = share(rounded.parameters()[0], exact.parameters()[0], exact.training.start)
        record.within(f"network {name}, sgd, TF32 against float32", far, MOST_TF32)
