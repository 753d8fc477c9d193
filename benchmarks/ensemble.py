"""32 seeds of Example 2 with 1,000 particles: one after another, and as an ensemble.

Seconds of all of them, records included and programs compiled before, in alternation.

    python benchmarks/ensemble.py [--quick] [--out FILE]
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # jax factorises with it; it spins on busy cores

import jax
from record import alternate, arguments, machine, ratio, summary, tell, write

import kjko

MEMBERS, PARTICLES, END = 32, 1000, 10.0


def main() -> None:
    options = arguments("ensemble", __doc__).parse_args()
    end_time = 1.0 if options.quick else END
    seeds = [f"particles.seed={seed}" for seed in range(MEMBERS)]
    experiments = [
        kjko.load("multiwell-1d", [f"particles.number={PARTICLES}", seed]).build() for seed in seeds
    ]
    members = [(each.problem, each.method, each.init()) for each in experiments]

    def one_after_another() -> None:
        for problem, method, state in members:
            for _ in kjko.simulate(problem, method, state=state, end_time=end_time):
                pass

    def together() -> None:
        for _ in kjko.ensemble(members, end_time=end_time):
            pass

    calls = {"one_after_another": one_after_another, "ensemble": together}
    seconds = alternate(calls, rounds=3)
    results = {
        "machine": machine(),
        "device": jax.devices()[0].device_kind,
        "seconds": {name: summary(values) for name, values in seconds.items()},
        "ratio": ratio(seconds["one_after_another"], seconds["ensemble"]),
    }
    tell(str(results))
    write(options.out, results)


if __name__ == "__main__":
    main()
