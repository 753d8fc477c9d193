"""Tensor-product splines: their matrix and its normal equations against what is dense."""

from functools import lru_cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import free_stage

from kjko.bases import Splines, block_tridiagonal, spline_design
from kjko.bases.spline_design import FLOOR, HOLD
from kjko.bases.spline_table import Table
from kjko.bases.splines import bspline
from kjko.controls import Gradient
from kjko.core.precision import in_double
from kjko.fit.newton import RIDGES

LENGTH = (0.7, 2.0, 3.1)
SHAPES = [  # d_x, d, cells, periodic
    pytest.param((1, 1, (9, 4), False), id="1"),
    pytest.param((1, 1, (12, 4), True), id="1-box"),
    pytest.param((2, 2, (6, 3), False), id="2"),
    pytest.param((1, 3, (9, 3), True), id="1-3-box"),
]
MORE_SHAPES = [
    *SHAPES,
    pytest.param((1, 3, (6, 5), False), id="1-3"),
    pytest.param((2, 2, (12, 3), True), id="2-box"),
    pytest.param((3, 3, (6, 3), False), id="3"),
]


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@eqx.filter_jit
def adapted(basis, x, v):
    stage = free_stage(x, v)
    return basis.adapt(stage), stage


@lru_cache  # only for tests in double precision
def case_of(d_x, d, cells, periodic, number=300):
    """A basis; particles far from unit scales, or in the box; a and B that differ with them."""
    rng = np.random.default_rng(d_x)
    x = 0.4 + 0.3 * rng.standard_t(3, size=(number, d_x))
    if periodic:
        x = np.array(LENGTH[:d_x]) * rng.random((number, d_x))
    v = -1.0 + 2.0 * rng.normal(size=(number, d))
    basis = Splines(d_x, cells, LENGTH[:d_x] if periodic else None, d)
    basis, stage = adapted(basis, jnp.asarray(x), jnp.asarray(v))
    b = np.asarray(random(number, d, d, seed=2))
    return basis, stage, random(number, d, seed=1), jnp.asarray(b + np.swapaxes(b, 1, 2))


@lru_cache
def explicit(*case):
    """(1 + a·∇ᵥ − B:∇ᵥ²) of every function, from the potential alone."""
    basis, stage, slope, curvature = case_of(*case)

    def values(x, v):
        return jax.grad(basis.potential, argnums=2)(x, v, jnp.zeros(basis.size, v.dtype))

    def row(x, v, a, b):
        first = jax.jacfwd(values, argnums=1)
        second = jax.jacfwd(first, argnums=1)(x, v)
        return values(x, v) + first(x, v) @ a - jnp.einsum("pij,ij->p", second, b)

    return np.asarray(jax.jit(jax.vmap(row))(stage.x, stage.v, slope, curvature))


def held(design, size):
    """What the factor adds to the penalty."""
    of_tables = jnp.arange(size) >= design.cross.shape[1]
    return jnp.diag(jnp.where(of_tables, (HOLD - FLOOR) * design.unit, 0.0))


def dense_penalty(design, size, ridge):
    """ridge R and the floor, as a matrix."""
    return jax.vmap(lambda c: design.penalty(c, jnp.asarray(ridge)))(jnp.eye(size))


def without_coupling(matrix, basis):
    """The blocks on the diagonal: of the cross products, and of every pair."""
    q, table = basis.size % basis.table.size, basis.table.size
    block = np.concatenate([np.zeros(q), 1 + np.arange(basis.size - q) // table])
    return np.where(block[:, None] == block[None], matrix, 0.0)


def test_bsplines_of_a_cell(double):
    """They sum to one, their first moment to the place, and go on smoothly in the next cell."""
    t = jnp.linspace(0, 1, 11)
    of = [jax.jit(partial(bspline, derivative=k)) for k in range(3)]
    assert bspline(t).shape == (11, 4) and jnp.all(bspline(t) >= 0)
    for f, total, moment in zip(of, (1, 0, 0), (t + 1, 1, 0), strict=True):
        np.testing.assert_allclose(jnp.sum(f(t), axis=-1), total, atol=1e-14)
        np.testing.assert_allclose(f(t) @ jnp.arange(4.0), moment, atol=1e-14)
        here, there = f(jnp.ones(())), f(jnp.zeros(()))
        np.testing.assert_allclose(here[1:], there[:-1], atol=1e-14)
        np.testing.assert_allclose([here[0], there[-1]], 0, atol=1e-14)
    beyond = jnp.linspace(-0.5, 1.5, 9)
    for f, derivative in zip(of, of[1:], strict=False):
        slope = jax.vmap(jax.jacfwd(f))(beyond)
        np.testing.assert_allclose(slope, derivative(beyond), atol=1e-14)


@pytest.mark.parametrize(
    ("n", "w", "ring"),
    [(1, 3, False), (2, 1, False), (7, 4, False), (3, 2, True), (4, 1, True), (7, 4, True)],
)
def test_block_tridiagonal(n, w, ring, double):
    rng = np.random.default_rng(n)
    root = np.zeros((n, w, n, w))
    for i in range(n):
        root[i, :, i] = rng.normal(size=(w, w))
        if i or ring:
            root[i, :, i - 1] = rng.normal(size=(w, w))
    root = root.reshape(n * w, n * w)
    matrix = root @ root.T + 0.1 * np.eye(n * w)
    blocks = matrix.reshape(n, w, n, w)
    diagonal = jnp.asarray(np.stack([blocks[i, :, i] for i in range(n)]))
    upper = np.stack([blocks[i, :, (i + 1) % n] for i in range(n)])
    if not ring:
        upper[-1] = 1e3  # not used
    right = random(n, w)
    values = jnp.stack([diagonal, jnp.asarray(upper)], axis=1)
    index = np.arange(values.size).reshape(values.shape)
    factor = block_tridiagonal.factor(values.ravel(), index, ring)
    found = block_tridiagonal.solve(factor, right)
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(matrix, right.ravel()), rtol=1e-10)
    bad = block_tridiagonal.factor(-values.ravel(), index, ring)
    assert not np.isfinite(block_tridiagonal.solve(bad, right)).all()


@pytest.mark.parametrize("case", SHAPES)
def test_the_matrix_is_that_of_the_potential(case, double):
    """M c and Mᵀ r against automatic differentiation in c and v; and the same u = ∇ᵥψ."""
    basis, stage, slope, curvature = case_of(*case)
    matrix, n = explicit(*case), len(slope)
    c, r = random(basis.size), random(n)

    @jax.jit
    def found():
        design = basis.design(stage, slope, curvature)
        plain = basis.design(stage, 0 * slope, 0 * curvature)
        control = eqx.tree_at(lambda u: (u.basis, u.coefficients), Gradient(basis), (basis, c))
        along = [basis.design(stage, 0 * slope + e[None], 0 * curvature) for e in jnp.eye(case[1])]
        return (
            (design.apply(c), matrix @ c),
            (design.transpose(r), matrix.T @ r),
            (plain.apply(c), jax.vmap(basis.potential, (0, 0, None))(stage.x, stage.v, c)),
            (
                jnp.stack([part.apply(c) - plain.apply(c) for part in along], axis=1),
                jax.vmap(control)(stage.x, stage.v),
            ),
        )

    for ours, expected in found():
        ours, expected = np.asarray(ours), np.asarray(expected)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-12)


@pytest.mark.parametrize("case", SHAPES)
def test_normal_equations(case, double):
    """Factor and solve against the dense ones: of the whole for one pair, else of its blocks; of
    all particles, and of some with the penalty of all.
    """
    basis, stage, slope, curvature = case_of(*case)
    matrix, some = explicit(*case), slice(None, 3 * len(slope) // 4)

    @jax.jit
    def ours(ridge):
        design = basis.design(stage, slope, curvature)
        penalty = dense_penalty(design, basis.size, ridge) + held(design, basis.size)
        return penalty, of_rows(design, ridge), of_rows(design.rows(some), ridge)

    def of_rows(design, ridge):
        right, gram = design.transpose(random(len(design.cell))), design.gram()
        found = design.solve(design.factor(gram, ridge), right)
        return right, found, design.normal(right, gram)

    for ridge, rows in ((1e-3, slice(None)), (10.0, slice(None)), (10.0, some)):
        normal = matrix[rows].T @ matrix[rows] / len(matrix[rows])
        blocks = without_coupling(normal, basis)
        assert (case[1] == 1) == (np.abs(normal - blocks).max() < 1e-3 * np.abs(normal).max())
        penalty, *both = ours(jnp.asarray(ridge))
        right, found, image = both[rows == some]
        np.testing.assert_allclose(image, normal @ right, atol=1e-12 * np.abs(image).max())
        expected = np.linalg.solve(blocks + penalty, right)
        np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())
        error = (blocks + penalty) @ found - right
        assert np.abs(error).max() < 1e-10 * np.abs(right).max()


@pytest.mark.parametrize("case", SHAPES)
def test_penalty(case, double):
    """Squared third differences along x and v in units of a column's mean square, and the floor."""
    basis, stage, slope, curvature = case_of(*case)
    _, d, _, periodic = case
    table, q = basis.table, basis.size % basis.table.size
    unit = np.mean((explicit(*case)[:, q:] ** 2).sum(axis=1)) / (d * table.size)
    c, ridge = random(basis.size), jnp.asarray(0.3)
    tables = np.asarray(c[q:]).reshape(d, *table.shape)
    wrapped = np.concatenate([tables, tables[:, :3]], axis=1) if periodic else tables
    rough = (np.diff(wrapped, n=3, axis=1) ** 2).sum()
    rough += 10 * (np.diff(tables, n=3, axis=2) ** 2).sum()
    expected = unit * (0.3 * rough + FLOOR * (tables**2).sum()) + FLOOR * (c[:q] ** 2).sum()

    @jax.jit
    def ours():
        design = basis.design(stage, slope, curvature)
        other = basis.design(stage, 3 * slope, curvature).with_penalty_of(design)
        alone = jax.tree.map(jnp.zeros_like, design.gram())
        penalty = design.penalty(c, ridge)
        back = design.solve(design.factor(alone, ridge), penalty)
        dense = dense_penalty(design, basis.size, ridge)
        return penalty, dense, held(design, basis.size) @ back, back, other.penalty(c, ridge)

    penalty, dense, more, back, borrowed = map(np.asarray, ours())
    assert float(c @ penalty) == pytest.approx(float(expected), 1e-10)
    np.testing.assert_allclose(dense @ c, penalty, atol=1e-12 * np.abs(penalty).max())
    np.testing.assert_allclose(dense, dense.T, atol=1e-12 * dense.max())
    # What factor adds is the same, but for its larger floor.
    np.testing.assert_allclose(dense @ back + more, penalty, atol=1e-11 * jnp.abs(penalty).max())
    np.testing.assert_array_equal(borrowed, penalty)


@pytest.mark.parametrize("case", MORE_SHAPES)
def test_quadratics_are_free(case, double):
    """What R does not see spans them, in the box those of v: so a Gaussian law is met exactly."""
    basis, stage, slope, curvature = case_of(*case)

    @jax.jit
    def ours():
        design = basis.design(stage, 0 * slope, 0 * curvature)
        values = jax.vmap(design.apply, out_axes=1)(jnp.eye(basis.size))
        rough, floor = (dense_penalty(design, basis.size, ridge) for ridge in (1.0, 0.0))
        return values, rough - floor

    matrix, roughness = ours()
    values, vectors = np.linalg.eigh(roughness)
    seen = values > 1e-9 * values.max()
    assert values[seen].min() > 1e-6 * values.max()  # a clear gap
    span = matrix @ vectors[:, ~seen]
    z = [np.ones((len(slope), 1)), stage.v] + ([] if basis.length else [stage.x])
    z = np.concatenate(z, axis=1)
    first, second = np.triu_indices(z.shape[1])
    targets = z[:, first] * z[:, second]
    fitted = span @ np.linalg.lstsq(span, targets, rcond=None)[0]
    np.testing.assert_allclose(fitted, targets, atol=1e-9 * np.abs(targets).max())


@pytest.mark.parametrize("d", [1, 2])
def test_smooth_across_the_end_of_the_box(d, double):
    """Periodic, wherever a drift has taken the particles; continuous to the second derivative."""
    basis, stage, *_ = case_of(d, d, (12, 4), True)
    c, length = random(basis.size), np.array(LENGTH[:d])

    @jax.jit
    @jax.vmap
    def at(x):
        def psi(x):
            return basis.potential(x, stage.v[0], c)

        return psi(x), jax.jacfwd(psi)(x), jax.jacfwd(jax.jacfwd(psi))(x)

    shifts = np.array([[0.0] * d, [1.0] * d, [-3.0] * d, [5.0] + [0.0] * (d - 1)])
    ends = np.array([[-1e-9] * d, [1e-9] * d, [1 - 1e-9] * d, [1 + 1e-9] * d])
    for places, tolerance in ((0.3 + shifts, 1e-10), (ends, 1e-5)):
        for values in at(places * length):
            values = np.asarray(values) / np.abs(values).max()
            np.testing.assert_allclose(values, values[[0] * 4], atol=tolerance)


@pytest.mark.parametrize("case", MORE_SHAPES)
def test_size(case):
    """Cells and three more; a box's first columns are its last. Products that share no pair."""
    d_x, d, cells, periodic = case
    basis = Splines(d_x, cells, LENGTH[:d_x] if periodic else None, d)
    products = d * (d - 1) // 2  # of two velocities
    if not periodic:
        products += d_x * (d_x - 1) // 2 + d_x * d - d
    columns = cells[0] if periodic else cells[0] + 3
    assert basis.size == products + d * columns * (cells[1] + 3)
    assert Gradient(basis).coefficients.shape == (basis.size,)
    assert basis.table == Table(cells, periodic)


@pytest.mark.parametrize(
    ("cells", "least"),
    [((7, 4), 6), ((3, 4), 6), ((6, 2), 6), ((-6, 4), 6), ((10, 4), 9), ((6, 4), 9), ((12, 0), 9)],
)
def test_cells_that_are_refused(cells, least):
    """The least number in x is that of a line, or of a periodic box."""
    periodic = least == 9
    message = (
        f"cells: must be a multiple of 3 from {least} on in x and at least 3 in v,"
        f" got {cells[0]} and {cells[1]}"
    )
    with pytest.raises(ValueError) as caught:
        Splines(1, cells, LENGTH[:1] if periodic else None)
    assert str(caught.value) == message


@pytest.mark.parametrize("periodic", [False, True])
def test_default_cells_follow_the_number_of_particles(periodic):
    """All of them from four particles a cell on; fewer in the same proportion; never refused."""
    length = LENGTH[:1] if periodic else None

    def cells(particles):
        return Splines(1, None, length, particles=particles).cells

    sizes = [cells(10**k) for k in range(8)]
    assert sizes == sorted(sizes) and sizes[0] == ((9 if periodic else 6), 6)
    assert cells(4 * 90 * 24) == cells(10**7) == (90, 24)
    n_x, n_v = cells(90 * 24)
    assert abs(n_x - 45) <= 3 and n_v == 12
    assert Splines(1, None, length).cells == cells(10_000)


@pytest.mark.parametrize("periodic", [False, True])
def test_beyond_the_cells(periodic, double):
    """x stops there, or goes round; v goes on, smoothly; nothing is nan."""
    basis, *_ = case_of(1, 1, (12, 4), periodic)
    c = random(basis.size)
    (low_x, low_v), (high_x, high_v) = np.asarray(basis.low[0]), np.asarray(basis.high[0])
    far = jnp.asarray([[-40.0], [50.0], [1e6]])
    x = far if periodic else jnp.asarray([[low_x], [high_x], [high_x]])
    v = jnp.full((3, 1), 0.3 * low_v + 0.7 * high_v)

    @jax.jit
    def ours():
        design = basis.design(free_stage(far, far), far, far[:, :, None])
        psi = jax.vmap(jax.value_and_grad(basis.potential, argnums=1), (0, 0, None))
        ends = jnp.asarray([[low_v - 1e-7], [low_v + 1e-7], [high_v - 1e-7], [high_v + 1e-7]])
        middle = jnp.full((4, 1), 0.5 * (low_x + high_x))
        beyond = design.apply(c), design.transpose(far[:, 0])
        return beyond, psi(far, v, c), psi(x, v, c), psi(middle, ends, c)

    beyond, at_far, at_end, across = ours()
    for leaf in jax.tree.leaves((beyond, at_far)):
        assert np.isfinite(leaf).all()
    for found, expected in zip(at_far, at_end, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)
    for values in across:
        np.testing.assert_allclose(values[::2].ravel(), values[1::2].ravel(), atol=1e-5)


def test_the_factor_solves_the_equations_of_particles_in_single_precision(double):
    """For every ridge, where cells are empty."""

    @jax.jit
    def errors(x, v, ridges):
        single = free_stage(x, v)
        basis = Splines(1, (90, 24)).adapt(single)
        stage, basis, v = in_double((single, basis, v))
        design = basis.design(stage, 0.5 * v, jnp.full((len(v), 1, 1), 0.5))
        gram, right = design.gram(), design.transpose(v[:, 0]) / len(v)

        def error(ridge):
            c = design.solve(design.factor(gram, ridge), right)
            rest = design.transpose(design.apply(c)) / len(v) + design.penalty(c, ridge) - right
            return jnp.linalg.norm(rest) / jnp.linalg.norm(right)

        return jax.lax.map(error, ridges)

    rng = np.random.default_rng(0)
    z = rng.normal(size=(10_000, 2))
    far = np.concatenate([[[100.0, 100.0]], z[1:]])
    clusters = 0.1 * z + rng.choice([-3, 3], size=z.shape)
    for law in (rng.standard_t(2, size=z.shape), clusters, far):
        x, v = jnp.asarray(law[:, :1], jnp.float32), jnp.asarray(law[:, 1:], jnp.float32)
        found = errors(x, v, jnp.asarray(RIDGES))
        assert np.all(found < 1e-6), found  # its floor


def test_particles_at_one_place(double):
    """A law that is a point in x, or in v, is no division by zero."""

    @jax.jit
    def ours(x, v):
        still = free_stage(x, v)
        design = Splines(1, (6, 3)).adapt(still).design(still, v, jnp.ones((60, 1, 1)))
        factor = design.factor(design.gram(), jnp.asarray(0.1))
        return design.solve(factor, design.transpose(v[:, 0]))

    z = random(60, 1)
    for x, v in ((0 * z + 2, z), (z, 0 * z - 3)):
        assert np.isfinite(ours(x, v)).all()


def test_sums_do_not_depend_on_their_blocks(monkeypatch, double):
    """Of 586 rows at once, or of 5 at a time with zeros in the last block."""
    basis, stage, slope, curvature = case_of(2, 2, (6, 5), False)
    design = jax.jit(lambda: basis.design(stage, slope, curvature))().rows(slice(None, 293))
    values = random(293, seed=3)

    def sums():
        return jax.jit(lambda design: (design.gram(), design.transpose(values)))(design)

    whole = sums()
    monkeypatch.setattr(spline_design, "BLOCK", 7)
    assert all(586 % size for size in range(4, 8))
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(sums()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
