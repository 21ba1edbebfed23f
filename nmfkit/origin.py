"""Where a run came from: its data, and the software that made it; and whether both are still the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nmfkit.errors import StoreError
from nmfkit.probe import Probe
from nmfkit.problem import Problem
from nmfkit.protocols import Source
from nmfkit.sources import open_source
from nmfkit.sources.about import about_of
from nmfkit.sources.fingerprint import fingerprint
from nmfkit.sources.observed import Observed, describe_observed, filled, holes, known_missing, observed

IN_MEMORY = "memory"
"""The URI of a source that no path leads to."""
OTHERS = "continuing would mix two matrices; fit anew instead"
"""Why a fit does not go on with other data."""


def describe_data(source: Source, probe: Probe, key: str | None) -> dict[str, Any]:
    """What a run stores of its data: where they lie, and by what they are known again."""
    about = about_of(source)
    known = describe_observed(source)
    if isinstance(source, Observed):
        source = source.of
    return {
        **({} if known is None else {"observed": known}),
        "uri": source.uri,
        "key": key,
        "shape": list(source.shape),
        "dtype": np.dtype(source.dtype).name,
        "sparse": source.is_sparse,
        "fingerprint": fingerprint(source),
        "sums": probe.sums(),
        **({"about": about.to_dict()} if about else {}),
    }


def reopen(
    stored: Mapping[str, Any],
    x: Any,
    key: str | None,
    problem: Problem,
    options: Mapping[str, Any] | None = None,
    mask: Any = None,
    weights: Any = None,
) -> Source:
    """The data of a run, from `x` or where they were; raises `StoreError` if they are gone or visibly others.

    A mask and weights that were in memory must be given again.
    """
    if x is None:
        x, key = stored["uri"], key or stored.get("key")
        if x == IN_MEMORY:
            raise StoreError("the run was fitted to data in memory; pass the same data again: nmfkit.resume(path, X)")
    missing = known_missing({"source": stored})
    source = open_source(
        filled(x, missing),
        key=key,
        dtype=problem.dtype or stored["dtype"],
        storage_options=options,
        missing=holes(missing),
    )
    if isinstance(source, Observed):
        return source
    if list(source.shape) != list(stored["shape"]) or fingerprint(source) != stored["fingerprint"]:
        raise StoreError(
            f"the data at {source.uri} ({source.shape[0]} × {source.shape[1]}) are not those that the run was fitted "
            f"to ({stored['shape'][0]} × {stored['shape'][1]}): {OTHERS}"
        )
    return observed_again(source, stored, mask, weights)


def observed_again(source: Source, stored: Mapping[str, Any], mask: Any, weights: Any) -> Source:
    """`source` with the mask and the weights of a run; raises `StoreError` where they are not those given or gone."""
    known = dict(stored.get("observed") or {})
    given = {name: layer for name, layer in (("mask", mask), ("weights", weights)) if layer is not None}
    for name in given.keys() - known.keys():
        raise StoreError(f"the run was fitted without {name}; with it, it would be another fit")
    known |= given
    for name in ("mask", "weights"):
        if isinstance(known.get(name), str) and known[name] == IN_MEMORY:
            raise StoreError(f"the run was fitted with {name} in memory; pass the same again: {name}=…")
    return observed(source, **known)


def refuse_changed(probe: Probe, stored: Mapping[str, Any], source: Source) -> None:
    """Raise `StoreError` if the sums over all entries are not those of the run."""
    for name, now in probe.sums().items():
        was = stored["sums"].get(name, now)  # older runs have fewer
        if abs(now - was) > 1e-9 * max(abs(now), abs(was)):
            raise StoreError(
                f"the data at {source.uri} have changed since the run began ({name} of the entries {was!r}, now "
                f"{now!r}): {OTHERS}"
            )


def changed_versions(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A caution if the software of `now` is not that of the run."""
    changed = [
        f"{name} {was} is {f'now {now[name]}' if name in now else 'no longer in use'}"
        for name, was in stored.items()
        if now.get(name) != was
    ]
    if not changed:
        return []
    return [f"the run goes on with other software than it began with, so digits may differ: {', '.join(changed)}"]
