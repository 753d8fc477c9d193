"""The snapshots of a run in openPMD 1.1 (https://www.openPMD.org): what its readers can open."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.spatial import QhullError

from kjko.case import BadInput
from kjko.run.atomic import write_folder_atomically
from kjko.run.carried import carried
from kjko.run.reader import Arrays, Run

AXES = ("x", "y", "z")
SPECIES = "particles"
ONE_FILE, FILE_EACH = "data.h5", "data_%06T.h5"  # %T is the step
FIELDS = {"density": "rho", "electric": "E", "potential": "phi"}  # as others call them
UNITS = (
    "Normalised units: charge and mass of a particle are one; position, velocity and time are in"
    " the units of the case, which has no scale in SI. So every unitDimension is zero, and unitSI,"
    " gridUnitSI and timeUnitSI, which openPMD 1.1 asks for, are one: nothing is converted."
)
Values = np.ndarray | float  # a number stands for an array of equal ones
Density = Callable[[Arrays], tuple[np.ndarray, str]]


def export(run: Run, encoding: str = "group") -> list[Path]:
    """Write all snapshots of a run into its folder `openpmd`, in place of what was there.

    `encoding`: one file for all ("group") or one for each ("file"). Returns the files. Needs jax
    where the run knows f at any point.

    Raises BadInput for another encoding, a run without snapshots, or one whose particles are on a
    line and that knows f nowhere else, OSError if a file is damaged or cannot be written; then an
    earlier export is as it was.
    """
    if encoding not in ("group", "file"):
        raise BadInput(f"--encoding: expected group or file, got {encoding}")
    if not run.snapshot_files:
        raise BadInput(f"{run.folder}: no snapshots to export; set output.snapshot_times")
    folder = run.folder / "openpmd"
    write_folder_atomically(folder, _files(run, encoding))
    return sorted(folder.iterdir())


def _files(run: Run, encoding: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents. What is not written yet is not read yet."""
    density = _density(run)
    if encoding == "group":
        yield ONE_FILE, _file(run, run.snapshots(), density, "groupBased", "/data/%T/")
    else:
        for snapshot in run.snapshots():
            name = FILE_EACH.replace("%06T", f"{int(snapshot['step']):06d}")
            yield name, _file(run, iter([snapshot]), density, "fileBased", FILE_EACH)


def _file(
    run: Run,
    snapshots: Iterator[Arrays],
    density: Density | None,
    encoding: str,
    iteration_format: str,
) -> bytes:
    """Built in memory: HDF5 ends the process on a full disk."""
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        paths = {"particlesPath": "particles/"}
        for snapshot in snapshots:
            iteration = file.create_group(f"data/{int(snapshot['step'])}")
            time_step = float(run.case["solver"]["time_step"])
            _set(iteration, time=float(snapshot["time"]), dt=time_step, timeUnitSI=1.0)
            _write_particles(iteration.create_group(f"particles/{SPECIES}"), snapshot)
            _write_fields(iteration, snapshot)
            if density is not None:
                _write_f(iteration, snapshot, *density(snapshot))
            if "meshes" in iteration:
                paths["meshesPath"] = "meshes/"
        _set(
            file,
            openPMD="1.1.0",
            openPMDextension=np.uint32(0),
            basePath="/data/%T/",
            **paths,
            iterationEncoding=encoding,
            iterationFormat=iteration_format,
            author="unknown",
            software="kinetic-jko",
            softwareVersion=version("kinetic-jko"),
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S %z"),
            comment=f"{run.title}. {UNITS}",
        )
        file.flush()
        return file.id.get_file_image()


def _write_particles(group: h5py.Group, snapshot: Arrays) -> None:
    """One species. The weights of those that a snapshot has kept add up to the mass."""
    x, v = snapshot["x"], snapshot["v"]
    n, position = len(x), _components(x)
    _write(group, "position", position)
    _write(group, "positionOffset", dict.fromkeys(position, 0.0), shape=(n,))
    _write(group, "velocity", _components(v))
    _write(group, "weighting", float(snapshot["mass"]) / n, shape=(n,))
    for name in ("mass", "charge"):
        _write(group, name, 1.0, shape=(n,))
    _write(group, "id", np.arange(n, dtype=np.uint64))  # a row is the same particle at all times
    comment = "log f(t, x, v) at the particle, f of mass one"
    _write(group, "log_f", snapshot["log_f"], comment=comment)
    patches = group.create_group("particlePatches")
    low, high = x.min(axis=0).astype(float), x.max(axis=0).astype(float)
    beyond = 2 * np.spacing(np.maximum(np.abs(low), np.abs(high)))  # the upper end is no part of it
    _write(patches, "numParticles", np.array([n], np.uint64))
    _write(patches, "numParticlesOffset", np.array([0], np.uint64))
    _write(patches, "offset", _components(low[None]))
    _write(patches, "extent", _components((high - low + beyond)[None]))


def _write_fields(iteration: h5py.Group, snapshot: Arrays) -> None:
    """ρ, E and φ at the cell centres, where the particles have a field of their own."""
    fields = {k.removeprefix("field_"): a for k, a in snapshot.items() if k.startswith("field_")}
    for name, values in fields.items():
        axes = {AXES[i]: (0.0, float(length)) for i, length in enumerate(snapshot["length"])}
        field = _components(values) if values.ndim > len(axes) else values
        _write_mesh(iteration, FIELDS.get(name, name), field, axes)


def _density(run: Run) -> Density | None:
    """What gives f at the nodes, and how, of any snapshot; None where it is not known of each, as
    readers expect all to have the same meshes.
    """
    last, end = _last_step_of_f(run), run.snapshot(run.snapshot_files[-1])
    is_plane = end["x"].shape[1] == end["v"].shape[1] == 1
    is_carried = is_plane and bool(np.isfinite(end["log_f"]).all())

    def density(snapshot):
        return (_slice if snapshot["step"] <= last else _carried)(run, snapshot)

    return density if is_carried or end["step"] <= last else None


def _slice(run: Run, snapshot: Arrays) -> tuple[np.ndarray, str]:
    """Where the other coordinates have their means, to three digits."""
    held = {
        f"{kind}{i + 1}": float(f"{mean:.3g}")
        for kind in "xv"
        for i, mean in enumerate(snapshot[kind].mean(axis=0, dtype=float))
        if i > 0
    }
    x, v = _centres(snapshot)
    f = run.slice(float(snapshot["time"]), x1=x, v1=v, **held).to_numpy()
    at = ", ".join(f"{name} = {value:g}" for name, value in held.items())
    return f, f"at {at}" if at else ""


def _carried(run: Run, snapshot: Arrays) -> tuple[np.ndarray, str]:
    """Between the particles of one x and one v."""
    length = float(snapshot["length"][0]) if run.periodic else None
    try:
        f = carried(snapshot, *_centres(snapshot), length=length)
    except QhullError:
        reason = "f is not known between particles on a line; it needs output.passages"
        raise BadInput(f"{run.folder}: {reason}") from None
    return f, "interpolated between particles, zero beyond them"


def _write_f(iteration: h5py.Group, snapshot: Arrays, f: np.ndarray, how: str) -> None:
    """f on the plane of (x₁, v₁), at the centres of the bins of the run's histograms."""
    x_edges, v_edges = _edges(snapshot)
    axes = {"x": (x_edges[0], x_edges[-1]), "vx": (v_edges[0], v_edges[-1])}
    comment = "f(t, x, v), of mass one" + (f", {how}" if how else "")
    _write_mesh(iteration, "f", f, axes, comment=comment, particleList=SPECIES)


def _edges(snapshot: Arrays) -> tuple[np.ndarray, np.ndarray]:
    x, v = (snapshot[f"edges_{kind}"][0].astype(float) for kind in "xv")
    return x, v


def _centres(snapshot: Arrays) -> tuple[np.ndarray, np.ndarray]:
    x, v = (0.5 * (edges[:-1] + edges[1:]) for edges in _edges(snapshot))
    return x, v


def _last_step_of_f(run: Run) -> int:
    """Up to which f is known beside the particles, -1 for nowhere. A run that was killed may have
    later snapshots, until it has got there again.
    """
    try:
        return len(run.history.passages) if run.has_passages else -1
    except ValueError:  # its method has no map of phase space
        return -1


def _write_mesh(
    iteration: h5py.Group,
    name: str,
    values: "np.ndarray | Mapping[str, np.ndarray]",
    axes: dict[str, tuple[float, float]],
    **attributes: Any,
) -> None:
    """Values at the cell centres, over axes from one end to another."""
    cells = (next(iter(values.values())) if isinstance(values, Mapping) else values).shape
    low, high = np.array(list(axes.values()), dtype=float).T
    _write(
        iteration.require_group("meshes"),
        name,
        values,
        of_components={"position": np.full(len(axes), 0.5)},
        geometry="cartesian",
        dataOrder="C",
        axisLabels=np.array(list(axes), dtype=np.bytes_),
        gridSpacing=(high - low) / cells,
        gridGlobalOffset=low,
        gridUnitSI=1.0,
        gridUnitDimension=np.zeros(7 * len(axes)),  # of openPMD 2.0: an axis may be a velocity
        **attributes,
    )


def _write(
    group: h5py.Group,
    name: str,
    values: Values | Mapping[str, Values],
    shape: tuple[int, ...] = (),
    of_components: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> None:
    """A record: a scalar, or a vector as its components by name; a number is the value of them all
    in an array of the `shape`.
    """
    if isinstance(values, Mapping):
        record = group.create_group(name)
        components = [_create(record, axis, each, shape) for axis, each in values.items()]
    else:
        record = _create(group, name, values, shape)
        components = [record]
    for component in components:
        _set(component, unitSI=1.0, **(of_components or {}))
    _set(record, unitDimension=np.zeros(7), timeOffset=0.0, **attributes)


def _create(
    group: h5py.Group, name: str, values: Values, shape: tuple[int, ...]
) -> h5py.Dataset | h5py.Group:
    if isinstance(values, np.ndarray):
        return group.create_dataset(name, data=values)
    constant = group.create_group(name)
    _set(constant, value=values, shape=np.array(shape, np.uint64))
    return constant


def _set(of: h5py.Group | h5py.Dataset, **attributes: Any) -> None:
    """Attributes, text as the plain ASCII that the standard asks for."""
    for name, value in attributes.items():
        text = isinstance(value, str)
        of.attrs[name] = np.bytes_(value.encode("ascii", "replace")) if text else value


def _components(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """The last axis by name."""
    return {AXES[i]: vectors[..., i] for i in range(vectors.shape[-1])}
