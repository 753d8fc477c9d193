"""Phase space over time: f itself in 1D1V, else the density of (x₁, v₁), as an animation."""

import io
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from PIL import Image

from kjko.figures.canvas import new_figure
from kjko.figures.shown import Shown
from kjko.figures.smooth import smooth
from kjko.run.atomic import write_atomically
from kjko.run.reader import Arrays

FRAME_MILLISECONDS = 120
LAST_FRAME = 8  # times as long
FILLED = 3  # cells from a particle, up to which f is known
BRIGHT = 0.999  # quantile of what is shown, from which on it is white
log: logging.Logger = logging.getLogger(__name__)


def animate(run: Shown, folder: Path, film: bool) -> list[Path]:
    """The frames of a run one after the other, as WebP, and with a `film` as MP4 if ffmpeg can."""
    images = list(_images(run))
    durations = [FRAME_MILLISECONDS] * (len(images) - 1) + [LAST_FRAME * FRAME_MILLISECONDS]
    data, path = io.BytesIO(), folder / "phase_space.webp"
    options = {"save_all": True, "append_images": images[1:], "duration": durations, "loop": 0}
    images[0].save(data, format="WEBP", quality=70, **options)
    write_atomically(path, data.getvalue())
    if not film:
        return [path]
    film_path = path.with_suffix(".mp4")
    film_path.unlink(missing_ok=True)  # that of earlier frames
    content = _film(images + [images[-1]] * (LAST_FRAME - 1)) if shutil.which("ffmpeg") else None
    if content is None:
        return [path]
    write_atomically(film_path, content)
    return [path, film_path]


def _images(run: Shown) -> Iterator[Image.Image]:
    ends = {name: np.array([f[name] for f in run.frames]) for name in ("x_ends", "v_ends")}
    x_view, v_view = ((float(e[:, 0].min()), float(e[:, 1].max())) for e in ends.values())
    figure, ((axes,),) = new_figure(run.title, panel=(4.8, 3.4))
    canvas = FigureCanvasAgg(figure)
    densities = [_density(frame, run) for frame in run.frames]
    norm = PowerNorm(0.5, 0.0, float(np.quantile(np.concatenate(densities), BRIGHT)))
    for frame, density in zip(run.frames, densities, strict=True):
        axes.clear()
        extent = (*frame["x_ends"], *frame["v_ends"])
        options = {"norm": norm, "cmap": "inferno", "origin": "lower", "aspect": "auto"}
        axes.imshow(density.T, extent=extent, interpolation="bilinear", **options)
        axes.set(xlim=x_view, ylim=v_view, facecolor="black")
        axes.set(xlabel=run.name("x", 0), ylabel=run.name("v", 0))
        what = "$f$" if "log_f" in frame else "density"
        axes.set_title(f"{what}, {run.at(frame['time'])}", fontsize=10)
        axes.grid(False)
        canvas.draw()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _density(frame: Arrays, run: Shown) -> np.ndarray:
    """exp of the mean log f in a cell, or near it, where particles carry it: f but for how it bends
    within a cell. Else particles a unit of phase space. Of the run's mass.
    """
    cell = np.diff(frame["x_ends"])[0] * np.diff(frame["v_ends"])[0] / frame["counts"].size
    if "log_f" not in frame:
        share = smooth(frame["counts"].astype(float), run.periodic) / frame["counts"].sum()
        return run.mass * share / cell
    log_f, known = frame["log_f"].astype(float), frame["counts"] > 0
    for _ in range(FILLED):
        weight = smooth(known.astype(float), run.periodic)
        near = smooth(np.where(known, log_f, 0.0), run.periodic) / np.where(weight > 0, weight, 1)
        log_f, known = np.where(known, log_f, near), weight > 0
    return run.mass * np.exp(np.where(known, log_f, -np.inf))


def _film(images: list[Image.Image]) -> bytes | None:
    """As MP4, whose sides are even, by ffmpeg's own codec for it; None, with a warning, if it
    fails.
    """
    width, height = images[0].size
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    source += ["-framerate", f"{1000 / FRAME_MILLISECONDS:g}", "-i", "-"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        command = ["ffmpeg", "-loglevel", "error", *source, *even, str(path)]
        frames = b"".join(image.tobytes() for image in images)
        done = subprocess.run(command, input=frames, stderr=subprocess.PIPE, check=False)
        if done.returncode == 0:
            return path.read_bytes()
    *_, last = done.stderr.decode(errors="replace").strip().split("\n")
    log.warning("phase_space.mp4 is not written; ffmpeg says: %s", last)
    return None
