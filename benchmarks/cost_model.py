"""What a step costs by its operations and bytes, beside what it takes; and many GPUs.

XLA counts the operations and the bytes that the kernels of a step read and write. Between two
numbers of particles, beyond which no sample grows, they grow by so many a particle; the rest is the
fit, on a sample. The model of what a particle takes is

    t = max(bytes / B, operations / F + functions · τ),

functions those as exp and cos, and B, F and τ what one core was measured to do. It is held to the
time that steps of 2^19 and 2^20 particles take more than each other.

On GPUs a particle takes bytes / B by the card's memory, times the particles of each; messages are
the collectives in the program for 2 devices, each of a latency and its bytes; and the fit, some ten
thousand small kernels one after another, is taken to last as long as here. Rates of a card are
those of its data sheet, given below: nothing here has been held to this part.

    python benchmarks/cost_model.py [--quick] [--out FILE]
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import math
import re
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from record import arguments, machine, summary, tell, write

import kjko
from kjko.observe import Observer, Start
from kjko.observe.observer import measure_all
from kjko.simulation import take_step

CASES = {"multiwell-1d": [], "landau-1d-collisional": [], "mixture-2d": []}
COUNTED = (53_248, 65_536)  # beyond all samples, and in one block
TIMED = (2**19, 2**20)
CARD = {"name": "H100 SXM", "bytes_per_second": 3.35e12, "share": 0.7, "latency": 2e-5}
LINK = 5e10  # bytes a second between hosts
GPUS, MANY = 64, 10**9


def counted(case: str, overrides: list[str], number: int) -> dict[str, float]:
    """Operations, functions and bytes of a step and of what is measured after it."""
    total = {"operations": 0.0, "functions": 0.0, "bytes": 0.0}
    for function, args in programs(case, overrides, number):
        cost = compiled(function, args).cost_analysis()
        for name, key in zip(total, ("flops", "transcendentals", "bytes accessed"), strict=True):
            total[name] += float(cost.get(key, 0.0))
    return total


def programs(case: str, overrides: list[str], number: int) -> list[tuple[Callable, Any]]:
    experiment = kjko.load(case, [f"particles.number={number}", *overrides]).build()
    state = experiment.init().shared_out()
    observer = Observer(Start(experiment.problem, experiment.method, state.particles))
    step = (experiment.problem, experiment.method, state)
    _, info = eqx.filter_eval_shape(take_step, *step)
    return [(take_step, step), (measure_all, (observer.observables, *step[::2], info))]


def compiled(function: Callable, args: Any) -> Any:
    """The program for arguments of these shapes."""

    def is_number(leaf):
        return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)

    numbers, others = eqx.partition(args, is_number)

    def of_numbers(numbers):
        return eqx.filter(function(*eqx.combine(numbers, others)), eqx.is_array)

    return jax.jit(of_numbers).lower(numbers).compile()


def rates() -> dict[str, float]:
    """What one core reads and writes, multiplies and adds, and evaluates in a second."""
    large, small = (jnp.linspace(0.1, 0.9, n, dtype=jnp.float32) for n in (2**25, 2**13))

    def chain(x):
        y = x
        for _ in range(64):
            y = y * x + 0.5
        return y

    stream = best(lambda x: x * 0.5 + 0.1, large)
    arithmetic, functions = best(chain, small), best(lambda x: jnp.exp(x) + jnp.cos(x), small)
    return {
        "bytes_per_second": 8 * large.size / stream,
        "operations_per_second": 128 * small.size / arithmetic,
        "seconds_a_function": functions / (2 * small.size),
    }


def best(function: Callable, x: Any) -> float:
    """Seconds of a call, in a loop of its own so that no dispatch counts."""
    repeats = max(1, 2**24 // x.size)

    @jax.jit
    def many(x):
        return jax.lax.fori_loop(0, repeats, lambda _, x: 0.5 * jnp.clip(function(x), 0.2, 1.0), x)

    many(x).block_until_ready()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        many(x).block_until_ready()
        seconds.append((time.perf_counter() - start) / repeats)
    return min(seconds)


def timed(case: str, overrides: list[str], number: int, steps: int) -> list[float]:
    """Seconds of steps, but for the first two."""
    overrides = [f"particles.number={number}", *overrides]
    experiment = kjko.load(case, overrides).build()
    end_time = (steps + 2) * experiment.time_step
    run = kjko.simulate(
        experiment.problem, experiment.method, state=experiment.init(), end_time=end_time
    )
    return [record["seconds"] for _, record in run][3:]


def messages(case: str, overrides: list[str]) -> dict[str, float]:
    """The collectives of a step on two devices, and their bytes."""
    with kjko.several(2):
        text = compiled(*programs(case, overrides, COUNTED[-1])[0]).as_text()
    found = re.findall(r"= (.*?) (?:all-reduce|all-gather|all-to-all|collective-permute)\(", text)
    sizes = [sum(map(size, re.findall(r"[a-z]+\d*\[[\d,]*\]", shape))) for shape in found]
    return {"number": len(sizes), "bytes": float(sum(sizes))}


def size(shape: str) -> float:
    """Bytes of f32[10,2]."""
    kind, dimensions = re.fullmatch(r"([a-z]+\d*)\[([\d,]*)\]", shape).groups()
    bits = int(re.sub(r"\D", "", kind) or 8)
    return bits / 8 * math.prod(int(d) for d in dimensions.split(",") if d)


def main() -> None:
    options = arguments("cost_model", __doc__).parse_args()
    jax.config.update("jax_num_cpu_devices", 2)  # for the messages
    can = rates()
    results: dict[str, Any] = {"machine": machine(), "core": can, "card": CARD, "cases": {}}
    tell(f"one core: {can}")
    for case, overrides in CASES.items():
        few, many = (counted(case, overrides, n) for n in COUNTED)
        each = {key: (many[key] - few[key]) / (COUNTED[1] - COUNTED[0]) for key in few}
        arithmetic = each["operations"] / can["operations_per_second"]
        arithmetic += each["functions"] * can["seconds_a_function"]
        model = max(each["bytes"] / can["bytes_per_second"], arithmetic)
        seconds = [timed(case, overrides, n, 3 if options.quick else 8) for n in TIMED]
        low, high = (float(np.median(s)) for s in seconds)
        measured = (high - low) / (TIMED[1] - TIMED[0])
        fit = low - measured * TIMED[0]
        sent = messages(case, overrides)
        on_card = MANY / GPUS * each["bytes"] / (CARD["share"] * CARD["bytes_per_second"])
        talk = sent["number"] * CARD["latency"] * math.log2(GPUS) + sent["bytes"] / LINK
        results["cases"][case] = {
            "a_particle": each,
            "model_ns": 1e9 * model,
            "measured_ns": 1e9 * measured,
            "model_over_measured": model / measured,
            "fit_seconds": fit,
            "steps": {n: summary(s) for n, s in zip(TIMED, seconds, strict=True)},
            "messages": sent,
            "many": {"particles_s": on_card, "messages_s": talk, "step_s": on_card + talk + fit},
        }
        tell(f"{case}: {results['cases'][case]}")
        write(options.out, results)


if __name__ == "__main__":
    main()
