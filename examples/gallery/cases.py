"""What the cases of the gallery share: their options, where their data are, and how a picture is drawn and kept."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#444444", "#A89F00")
"""Those of Okabe & Ito, which the colour-blind tell apart."""
KNOWN = "NMFKIT_DATA"
"""The environment variable with the folder of the sets that a field knows best, for those who have them."""


def options(doc, more=()):
    """`out`, a folder that is there now, and `quick`, from the command line; and the texts that `more` describes."""
    case = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(f"gallery-{case}"), help="the folder for all that is made")
    parser.add_argument("--quick", action="store_true", help="few sweeps, to see that it works")
    for name, what in dict(more).items():
        parser.add_argument(name, help=what)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    return given


def well_known(path):
    """The file of that name in the folder that NMFKIT_DATA names; None where there is none."""
    found = Path(os.environ[KNOWN], path) if os.environ.get(KNOWN) else None
    return found if found and found.exists() else None


def needed(path):
    """The same, for cases that have no other data; leaves with a message where there is none."""
    if found := well_known(path):
        return found
    print(f"this case needs {path}: set {KNOWN} to a folder that has it", file=sys.stderr)
    raise SystemExit(2)


def of_package(name, path="", install=None, instead=None):
    """A file that comes with an installed package, not imported; leaves with a message where it is missing."""
    spec = find_spec(name)
    if spec and spec.submodule_search_locations:
        found = Path(spec.submodule_search_locations[0], path)
        if found.exists():
            return found
    other = f", or set {KNOWN} to a folder with {instead}" if instead else ""
    print(f"this case needs data of the package {name}: pip install {install or name}{other}", file=sys.stderr)
    raise SystemExit(2)


def canvas(width, height):
    """An empty figure of so many inches, in the gallery's plain style."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {"font.size": 8, "axes.titlesize": 8, "axes.titlelocation": "left", "axes.spines.top": False}
        | {"axes.spines.right": False, "axes.linewidth": 0.6, "text.parse_math": False, "legend.frameon": False}
    )
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def image(ax, values, title="", cmap="magma", high=None):
    """An image without axes, its colours from zero to `high`, or to the largest value."""
    ax.imshow(values, cmap=cmap, vmin=0, vmax=high, interpolation="nearest")
    ax.set_title(title)
    ax.axis("off")


def plane(w):
    """The rows of W along their two directions of most variance, and the share of the variance that these have."""
    import numpy as np

    u, s, _ = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)
    return u[:, :2] * s[:2], float((s[:2] ** 2).sum() / (s**2).sum())


def keep(figure, folder, colours=96):
    """Save the picture, small: few colours are enough for it, and nothing in it tells when it was made."""
    from PIL import Image

    figure.savefig(folder / "picture.png", dpi=120, metadata={"Software": "nmfkit"})
    with Image.open(folder / "picture.png") as drawn:
        few = drawn.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    few.save(folder / "picture.png", optimize=True)
    print(f"\nlook at {folder / 'picture.png'} and {folder / 'report.html'}; the run is {folder / 'run.zarr'}")
