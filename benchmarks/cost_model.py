"""What a step costs by its operations and bytes, beside what it takes; and many GPUs.

XLA counts the operations and the bytes that the kernels of a step and of its record read and write,
what is in a loop once. Between two numbers of particles, of which no sample grows and all are one
block, they grow by so many a particle; the rest is the fit, on a sample. The model of what a
particle takes is

    t = max(bytes / B, operations / F + functions · τ),

functions those as exp and cos, and B, F and τ what one core was measured to do. It is held to the
time that steps of 2^19 and 2^20 particles take more than each other.

On GPUs a particle takes bytes / B, B a share of what the card's data sheet says, times the
particles of each; the collectives in the program for 2 devices, counted as above, each take a
latency for each doubling of the devices, and their bytes; and the fit, some ten thousand small
kernels one after another, is taken to last as long as here. The share, the latency and the link are
assumed, and nothing here has been held to this part.

    taskset -c 0 python benchmarks/cost_model.py [--quick] [--out FILE]
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

CASES = ("multiwell-1d", "landau-1d-collisional", "mixture-2d")
COUNTED = (51_200, 61_440)  # beyond all samples, and in one block
TIMED = (2**19, 2**20)
CARD = {"name": "H100 SXM", "bytes_per_second": 3.35e12}
ASSUMED = {"share_of_bytes": 0.7, "latency": 2e-5, "link_bytes_per_second": 5e10}
OPTIONS = {"xla_disable_hlo_passes": "tree_reduction_rewriter"}  # as steps are compiled
GPUS, MANY = 64, 10**9


def counted(case: str, number: int) -> dict[str, float]:
    """Operations, functions and bytes of a step and of what is measured after it."""
    total = {"operations": 0.0, "functions": 0.0, "bytes": 0.0}
    for function, args in programs(case, number):
        cost = compiled(function, args).cost_analysis()
        for name, key in zip(total, ("flops", "transcendentals", "bytes accessed"), strict=True):
            total[name] += float(cost.get(key, 0.0))
    return total


def programs(case: str, number: int) -> list[tuple[Callable, Any]]:
    experiment = kjko.load(case, [f"particles.number={number}"]).build()
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

    return jax.jit(of_numbers).lower(numbers).compile(compiler_options=OPTIONS)


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


def timed(case: str, number: int, steps: int) -> list[float]:
    """Seconds of steps, but for the first two."""
    experiment = kjko.load(case, [f"particles.number={number}"]).build()
    end_time = (steps + 2) * experiment.time_step
    run = kjko.simulate(
        experiment.problem, experiment.method, state=experiment.init(), end_time=end_time
    )
    return [record["seconds"] for _, record in run][3:]


def messages(case: str) -> dict[str, float]:
    """The collectives of a step and its record on two devices, and their bytes."""
    with kjko.several(2):
        text = "".join(compiled(*each).as_text() for each in programs(case, COUNTED[-1]))
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
    results: dict[str, Any] = {
        "machine": machine(),
        "core": can,
        "card": CARD,
        "assumed": ASSUMED,
        "cases": {},
    }
    tell(f"one core: {can}")
    for case in CASES:
        few, many = (counted(case, n) for n in COUNTED)
        each = {key: (many[key] - few[key]) / (COUNTED[1] - COUNTED[0]) for key in few}
        arithmetic = each["operations"] / can["operations_per_second"]
        arithmetic += each["functions"] * can["seconds_a_function"]
        model = max(each["bytes"] / can["bytes_per_second"], arithmetic)
        seconds = [timed(case, n, 3 if options.quick else 8) for n in TIMED]
        low, high = (float(np.median(s)) for s in seconds)
        measured = (high - low) / (TIMED[1] - TIMED[0])
        fit = low - measured * TIMED[0]
        sent = messages(case)
        reads = ASSUMED["share_of_bytes"] * CARD["bytes_per_second"]
        on_card = MANY / GPUS * each["bytes"] / reads
        talk = sent["number"] * ASSUMED["latency"] * math.log2(GPUS)
        talk += sent["bytes"] / ASSUMED["link_bytes_per_second"]
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
