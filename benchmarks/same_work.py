"""Same work: ours against plain PyTorch, the same objective, weights and particles.

Measured, on the paper's four configurations, with exact and with linear log-determinant:
`gradient`: the value and one gradient of the JKO objective of a step of size h.
`step`, exact only: the fit by K Adam steps and the push of x, v, log f; the force is not in it.
Both are taken on a `Stage`, so d_x = 1 with d_v = 3 is as good as any other.

PyTorch is given every advantage that is still plain: the Jacobian ∇ᵥu by double backward and by
tangents carried along by hand, each with 1 and with 2 threads; the ratio is to the fastest. It is
eager or by torch.compile. Losses and gradients are compared first. All calls alternate.

    pip install torch==2.13.0   (the CPU build will do)
    python benchmarks/same_work.py [--quick] [--out FILE]
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")

import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from plain_torch import RATE, STEPS, H, Theirs
from record import alternate, arguments, machine, ratio, summary, tell, write

from kjko import MLP, Adam, External, Multiwell
from kjko.core import Bath, Stage
from kjko.fit.gradient import value_and_gradient
from kjko.methods.jko import JKOStep
from kjko.splitting.transport import log_determinant, move, response

THREADS = (1, 2)
JACOBIANS = ("tangents", "double-backward")
KEY = jax.random.key(0)


class Configuration(NamedTuple):
    """Particles, components of x and v, hidden widths."""

    number: int
    d_x: int
    d: int
    widths: tuple[int, ...]
    activation: str

    def flops(self) -> float:
        """Of the matrix products of a gradient: forward and backward, the value and d tangents."""
        sizes = (self.d_x + self.d, *self.widths, self.d)
        products = [2 * a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
        first = products[0] * 2  # value and weights; its tangents are columns of the weights
        return self.number * (first + 3 * (1 + self.d) * sum(products[1:]))


CONFIGURATIONS = {
    "1D, 2x16 tanh": Configuration(10_000, 1, 1, (16, 16), "tanh"),
    "3D, 2x32 tanh": Configuration(10_000, 3, 3, (32, 32), "tanh"),
    "1D1V, 2x32 LeakyReLU": Configuration(50_000, 1, 1, (32, 32), "leaky-relu"),
    "1D3V, 2x64 LeakyReLU": Configuration(50_000, 1, 3, (64, 64), "leaky-relu"),
}


class Ours:
    """The library's objective and fit, compiled."""

    def __init__(self, c: Configuration, log_det: str):
        self.stage = stage_of(c)
        key, last_key = jax.random.split(KEY)
        control = MLP(c.d, c.widths, c.activation, c.d_x, key=key)
        last = 0.1 * jax.random.normal(last_key, control.layers[-1].weight.shape)  # not zero
        self.control = eqx.tree_at(lambda u: u.layers[-1].weight, control, last)
        h = jnp.asarray(H)
        flow = External(Multiwell())
        subproblem = JKOStep(flow=flow, field=None, h=h, dt=h, log_det=log_det)
        fit = Adam(STEPS, RATE, "constant", held_out=0.0, tolerance=0.0, warm_start=True)

        def gradient(control, stage):
            params, static = eqx.partition(control, eqx.is_inexact_array)
            (loss, _), slope = value_and_gradient(subproblem, params, static, stage)
            return loss, slope

        def step(control, stage):
            found, _ = fit(subproblem, control, control, stage, KEY)
            by = response(found, stage)
            return move(stage, by, h, log_determinant(by, h))

        self._gradient = eqx.filter_jit(gradient)
        self._step = eqx.filter_jit(step)

    def gradient(self):
        return jax.block_until_ready(self._gradient(self.control, self.stage))

    def step(self):
        return jax.block_until_ready(self._step(self.control, self.stage))


def stage_of(c: Configuration) -> Stage:
    x, v = jax.random.normal(KEY, (c.number, c.d_x)), jax.random.normal(KEY, (c.number, c.d)) + 0.3
    one = jnp.ones(c.number)
    bath = Bath(one, jnp.zeros_like(v), one)
    return Stage(x, v, x, v, -0.5 * jnp.sum(v**2, axis=1), 0 * one, bath)


def difference(ours: Ours, theirs: Theirs) -> float:
    """The largest relative difference of the losses and of the gradients."""
    loss, gradient = ours.gradient()
    other_loss, other = theirs.gradient()
    leaves = [a for layer in gradient.layers for a in (layer.weight, layer.bias)]
    pairs = [(loss, other_loss.detach()), *zip(leaves, other, strict=True)]
    norm = np.linalg.norm
    return max(float(norm(np.asarray(a) - b.numpy()) / norm(np.asarray(a))) for a, b in pairs)


def peak() -> dict[str, float]:
    """GFLOP/s of a float32 matrix product of side 2048, the best of ten, by two libraries."""
    a = np.ones((2048, 2048), np.float32)
    b, product = jnp.asarray(a), jax.jit(jnp.matmul)
    calls = {"numpy": lambda: a @ a, "jax": lambda: product(b, b).block_until_ready()}
    return {k: 2 * 2048**3 / min(s) / 1e9 for k, s in alternate(calls, 10).items()}


def compare(c: Configuration, log_det: str, rounds: int, with_compile: bool, peak: float) -> dict:
    """One configuration: the gradient by all, then the step by the fastest of each kind."""
    ours = Ours(c, log_det)
    kinds = {
        "eager": [Theirs(c, ours, log_det, j, t, False) for j in JACOBIANS for t in THREADS],
        "compile": [Theirs(c, ours, log_det, "tangents", t, True) for t in THREADS],
    }
    result: dict = {"difference": max(difference(ours, t) for t in kinds["eager"])}
    if not with_compile:
        del kinds["compile"]
    else:
        try:
            start = time.perf_counter()
            result["difference_compile"] = max(difference(ours, t) for t in kinds["compile"])
            result["compile_seconds_torch"] = time.perf_counter() - start
        except Exception as error:  # no compiler, or one that it cannot use
            result["compile_skipped"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            del kinds["compile"]
    if max(result["difference"], result.get("difference_compile", 0.0)) > 1e-4:
        raise ArithmeticError(f"losses or gradients differ: {result}")

    named = {f"{k}, {t.jacobian}, {t.threads}": t for k, ts in kinds.items() for t in ts}
    seconds = alternate({"ours": ours.gradient} | {k: t.gradient for k, t in named.items()}, rounds)
    best = {
        kind: min((k for k in named if k.startswith(kind)), key=lambda k: np.median(seconds[k]))
        for kind in kinds
    }
    result["gradient"] = ratios(seconds, best)
    result["gflops"] = c.flops() / result["gradient"]["seconds"]["ours"]["median"] / 1e9
    result["fraction_of_peak"] = result["gflops"] / peak
    if log_det == "linear":
        return result
    steps = {"ours": ours.step} | {name: named[name].step for name in best.values()}
    result["step"] = ratios(alternate(steps, max(2, rounds // 3)), best)
    return result


def ratios(seconds: dict[str, list[float]], best: dict[str, str]) -> dict:
    """Seconds of all; the ratio of the fastest of each kind to ours."""
    return {
        "seconds": {name: summary(s) for name, s in seconds.items()},
        "best": best,
        "ratio": {kind: ratio(seconds[name], seconds["ours"]) for kind, name in best.items()},
    }


def main() -> None:
    parser = arguments("same_work", __doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    results: dict = {"machine": machine(), "rounds": rounds, "peak_gflops": peak()}
    results["threads"] = {"ours": results["machine"]["cores"], "torch": THREADS}
    tell(f"peak: {results['peak_gflops']}")
    results["configurations"] = {}
    for name, c in CONFIGURATIONS.items():
        results["configurations"][name] = {}
        for log_det in ("exact", "linear"):
            with_compile = log_det == "exact" and not options.quick
            found = compare(c, log_det, rounds, with_compile, max(results["peak_gflops"].values()))
            results["configurations"][name][log_det] = found
            for what in sorted({"gradient", "step"} & found.keys()):
                of = {k: round(r["median"], 2) for k, r in found[what]["ratio"].items()}
                ms = 1e3 * found[what]["seconds"]["ours"]["median"]
                tell(f"{name}, {log_det}, {what}: ours {ms:.3g} ms, theirs/ours {of}")
            write(options.out, results)


if __name__ == "__main__":
    main()
