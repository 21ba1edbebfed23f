"""What rows and features are, as `convert` stores it: the attribute `about` of the group."""

from __future__ import annotations

from nmfkit.errors import SourceError
from nmfkit.sources.about import About
from nmfkit.sources.zarr_store import Place


def stored_about(root: Place, shape: tuple[int, int]) -> About | None:
    """What the group at `root` says of a matrix of that shape; None where nmfkit did not write it.

    Raises `SourceError` where it cannot be read, or fits another shape.
    """
    attributes = root.open().attrs
    if "nmfkit_format" not in attributes or "about" not in attributes:
        return None
    try:
        about = About.from_dict(attributes["about"])
    except ValueError as error:
        raise SourceError(f"{root}: the attribute 'about' cannot be read: {error}") from error
    if faults := about.faults(shape):
        raise SourceError(f"{root}: the attribute 'about' does not fit: {'; '.join(faults)}")
    return about
