"""Whether replicates put the same rows together: the consensus matrix and what it says (Brunet et al. 2004)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nmfkit.blocks import Array


def labels(w: Array, h: Array) -> Array:
    """The component that weighs most in each row: argmax of w_ik Σ_j h_kj, whatever the scales of W and H."""
    amounts = np.asarray(w, np.float64) * np.sum(h, axis=1, dtype=np.float64)
    found: Array = np.argmax(amounts, axis=1)
    return found


def consensus(labellings: Sequence[Array]) -> Array:
    """C (m, m): the part of the labellings (m,) in which two rows have the same label."""
    total = np.zeros((len(labellings[0]),) * 2)
    for labelling in labellings:
        total += labelling[:, None] == labelling[None, :]
    return total / len(labellings)


def dispersion(c: Array) -> float:
    """Σ 4 (C_ij − ½)² / m² (Kim & Park 2007): 1 if every labelling agrees, 0 if all entries are ½."""
    return float(np.mean(4 * (c - 0.5) ** 2))


def cophenetic(c: Array) -> float:
    """The correlation of 1 − C with the distances in its own tree by average linkage; 1 if all labellings agree."""
    from scipy.cluster.hierarchy import cophenet, linkage
    from scipy.spatial.distance import squareform

    distances = squareform(1 - c, checks=False)
    if np.all((distances == 0) | (distances == 1)):
        return 1.0
    heights = cophenet(linkage(distances, "average"))
    if np.ptp(heights) == 0:
        return 0.0
    return float(np.corrcoef(heights, distances)[0, 1])
