"""The density at any point and time of a run, by what its steps have done to phase space."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from kjko.core import Particles, State
from kjko.core.precision import in_double
from kjko.initial import AbstractLaw, sample
from kjko.interfaces import AbstractCollisions, AbstractMethod, FieldState
from kjko.methods.passage import Passage, of_one_form, wrapped
from kjko.observe.start import step_length
from kjko.problem import Problem
from kjko.slices import marginal_of, slice_of
from kjko.splitting.transport import BLOCK

if TYPE_CHECKING:
    import xarray

    from kjko.run.reader import Run

Points = Float[np.ndarray, "n d"]
RESAMPLED = 1  # tells seeds of new particles from those of a run's own


class History:
    """What the steps of a run have done to phase space, and with it f at any point and time.

    f(t, z) is f₀ at the point z₀ that z has come from, less the log-determinants and what was done
    to log f on the way: the map of the run is taken back to t = 0 and then on again to t, as if z
    were a particle. A time within a step is reached by the step's own controls over a part of it.
    All of it in float64. `passages`: of the steps from `first` on, the state at t = 0.
    """

    def __init__(
        self, problem: Problem, law: AbstractLaw, first: State, passages: Sequence[Passage]
    ):
        self.time_step: float = step_length(first)
        self.dtype: np.dtype = first.particles.v.dtype
        with jax.enable_x64(True):
            self.problem: Problem = in_double(problem)
            self.law: AbstractLaw = in_double(law)
            self.first: State = in_double(first)
            self.passages: list[Passage] = [in_double(each) for each in of_one_form(passages)]

    @property
    def end(self) -> float:
        """The time up to which it goes."""
        return self.time_step * len(self.passages)

    def log_density(self, t: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
        """log f(t, x, v), of mass one as `Particles.log_f`; nan where no particle can come from.

        Raises ValueError for a time outside of the run or points of another shape.
        """
        return self._in_blocks(t, x, v, partial(self._log_density, t))

    def _log_density(self, t: float, points: Particles) -> Array:
        start, found = self._pull(t, points)
        log_f = jax.vmap(self.law.log_density)(start.x, start.v)
        end = self._push(t, Particles(start.x, start.v, log_f))
        return jnp.where(found, end.log_f, jnp.nan)

    def score(self, t: float, x: Points, v: Points) -> Points:
        """∇ᵥ log f(t, x, v), as learned: of the controls before and after t, by linear
        interpolation between the middles of their steps, and extrapolation after the last one;
        without collisions of f₀ by the map.

        Raises as `log_density`.
        """
        if self.passages and self.passages[0].parts is None:
            return self._in_blocks(t, x, v, partial(self._score_by_map, t))
        return self._in_blocks(t, x, v, partial(self._score_learned, t))

    def _score_by_map(self, t: float, points: Particles) -> Array:
        def total(v):
            start, _ = self._pull(t, eqx.tree_at(lambda p: p.v, points, v))
            return jnp.sum(jax.vmap(self.law.log_density)(start.x, start.v))

        return jax.grad(total)(points.v)

    def _score_learned(self, t: float, points: Particles) -> Array:
        def at(number):
            """By the control of a step, from 0 on; of f₀ before the first one."""
            if number < 0:
                return jax.vmap(jax.grad(self.law.log_density, argnums=1))(points.x, points.v)
            return _score(self.passages[number], self.problem, points)

        if t == 0:
            return at(-1)
        when = self.passages[0].when
        place = t / self.time_step - when
        if place < 0:
            before, share = -1, place / when + 1
        else:
            before = min(int(place), max(len(self.passages) - 2, 0))
            share = place - before
        if share == 0 or before + 1 >= len(self.passages):
            return at(before)
        return (1 - share) * at(before) + share * at(before + 1)

    def resample(self, n: int, t: float | None = None, seed: int = 0) -> Particles:
        """`n` particles of f₀ that the run had not, pushed along its map to t, or to its end."""
        t = self.end if t is None else t
        self._check_time(t)
        with jax.enable_x64(True):
            own = np.random.SeedSequence([seed, RESAMPLED]).generate_state(1)
            new = sample(self.law, n, int(own[0]))
            blocks = [Particles(*(a[rows] for a in _arrays(new))) for rows in _blocks(n)]
            ends = [_arrays(self._push(t, block)) for block in blocks]
            x, v, log_f = (jnp.concatenate(parts) for parts in zip(*ends, strict=True))
            arrays = [np.asarray(a, dtype=self.dtype) for a in (x, v, log_f)]
        return Particles(*arrays)

    def slice(self, t: float, **coordinates: ArrayLike) -> "xarray.DataArray":
        """f(t, x, v), of mass one, on the mesh of the coordinates given as arrays.

            f = history.slice(2.0, x1=np.linspace(-3, 3, 61), v1=[0, 1], x2=0.5)

        Of the names x1, …, v1, …; a number holds a coordinate fixed, and what is not named is held
        at zero. nan where no particle can come from.

        Raises ValueError for an unknown name, for none that is an array, and for a time outside of
        the run.
        """
        return slice_of(self, t, coordinates)

    def marginal(self, t: float, **coordinates: ArrayLike) -> "xarray.Dataset":
        """∫ f(t, x, v) over all coordinates but those given, by name, as arrays; of mass one.

            marginal = history.marginal(2.0, x1=np.linspace(-3, 3, 61))

        `density` on their mesh, and `error`, its standard error. The integral is a mean of f/q over
        256 draws of low discrepancy from a single Gaussian q that is as wide as the particles are
        there, and a little wider, and uniform in the positions of a periodic box; the error comes
        from eight scrambled sets of them. Where f is so uneven that it rests on fewer than ten
        draws, as where it has narrow modes in several of the other coordinates, both are nan. Each
        node costs 256 values of f: on 60 of them a second or two, on 60 × 60 minutes.

        Raises ValueError as `slice`, for a coordinate given as a number, and if none is left.
        """
        return marginal_of(self, t, coordinates)

    def _in_blocks(
        self, t: float, x: Points, v: Points, of: Callable[[Particles], Array]
    ) -> np.ndarray:
        """What `of` gives for points at t, block by block."""
        self._check_time(t)
        like = self.first.particles
        x, v = (np.asarray(a, dtype=float) for a in (x, v))
        shapes = (x.shape, v.shape)
        n = v.shape[0] if v.ndim else 0
        if shapes != ((n, like.x.shape[1]), (n, like.v.shape[1])) or n == 0:
            raise ValueError(
                f"x, v: expected the shapes (n, {like.x.shape[1]}) and (n, {like.v.shape[1]}), got"
                f" {shapes[0]} and {shapes[1]}; one coordinate is x[:, None]"
            )
        out = []
        for rows in _blocks(len(x)):
            full = np.arange(rows.start, rows.start + min(len(x), BLOCK)).clip(max=len(x) - 1)
            with jax.enable_x64(True):
                points = Particles(x[full], v[full], np.zeros(len(full)))
                values = np.asarray(of(wrapped(self.problem, points)))
            out.append(values[: rows.stop - rows.start])
        return np.concatenate(out)

    def _check_time(self, t: float) -> None:
        if not 0 <= t <= self.end * (1 + 1e-6):
            raise ValueError(f"t: expected a time of the run, 0 to {self.end:g}, got {t:g}")

    def _steps(self, t: float) -> Iterator["_Step"]:
        """Field at the start, passage, time, Δt and portion of each step up to t."""
        field, dt = self.first.field, jnp.asarray(self.first.time_step)
        for number, passage in enumerate(self.passages):
            portion = min(t / self.time_step - number, 1.0)
            if portion <= 1e-6:
                return
            portion = 1.0 if portion > 1 - 1e-6 else portion
            yield field, passage, number * dt, dt, jnp.asarray(portion, dt.dtype)
            field = passage.end

    def _pull(self, t: float, points: Particles) -> tuple[Particles, Array]:
        found = jnp.ones(points.log_f.shape, bool)
        for step in reversed(list(self._steps(t))):
            points, here = self._one_step(_pull, step, points)
            found = found & here
        return points, found

    def _push(self, t: float, points: Particles) -> Particles:
        for step in self._steps(t):
            points = self._one_step(_push, step, points)
        return points

    def _one_step(self, way: Callable, step: "_Step", points: Particles) -> Any:
        start, passage, t, dt, portion = step
        return way(passage, self.problem, start, points, t, dt, portion)


_Step = tuple[FieldState, Passage, Any, Any, Any]


def log_density(run: "Run", t: float, x: Points, v: Points) -> Float[np.ndarray, " n"]:
    """log f(t, x, v) of a run, see `History.log_density`."""
    return run.history.log_density(t, x, v)


def score(run: "Run", t: float, x: Points, v: Points) -> Points:
    """∇ᵥ log f(t, x, v) of a run, see `History.score`."""
    return run.history.score(t, x, v)


def law_of_map(problem: Problem, method: AbstractMethod, particles: Particles) -> AbstractLaw:
    """The law that the map of a run starts from.

    Raises ValueError, with the reason, for what has no map of all phase space: a start from
    particles of no given law, a method with a `no_map`, collisions in which a particle depends on
    the others.
    """
    reason = method.no_map or _depends_on_others(problem, particles)
    if reason is None and problem.law is not None:
        return problem.law
    reason = reason or "the run started from particles of a law that is not given"
    raise ValueError(f"the density is known at the particles only: {reason}")


def _depends_on_others(problem: Problem, particles: Particles) -> str | None:
    """Which collisions make a particle depend on the others; None if they do not."""
    collisions = problem.collisions
    all_of_them = collisions.freeze(particles.x, particles.v)
    alone = collisions.freeze(particles.x[:1], particles.v[:1])
    differs = any(
        not np.allclose(a[:1], b, rtol=1e-4, atol=1e-6)
        for a, b in zip(jax.tree.leaves(all_of_them), jax.tree.leaves(alone), strict=True)
    )
    if differs or type(collisions).conserve is not AbstractCollisions.conserve:
        return f"{type(collisions).__name__} collisions depend on all particles"
    return None


def _arrays(particles: Particles) -> tuple[Array, Array, Array]:
    return particles.x, particles.v, particles.log_f


def _blocks(n: int) -> list[slice]:
    return [slice(k * BLOCK, min(n, (k + 1) * BLOCK)) for k in range(math.ceil(n / BLOCK))]


_push = eqx.filter_jit(Passage.push)
_pull = eqx.filter_jit(Passage.pull)
_score = eqx.filter_jit(Passage.score)
