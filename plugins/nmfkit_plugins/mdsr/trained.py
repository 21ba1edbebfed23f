"""The network of a run: its weights by name, and what another fit goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nmfkit.blocks import Array
from nmfkit.errors import StoreError, UsageError
from nmfkit.protocols import Shared
from nmfkit.result import Result, load

if TYPE_CHECKING:
    from nmfkit_plugins.mdsr.model import InputGuided


def sizes_in(net: dict[str, Array]) -> tuple[int, ...]:
    """Widths of the layers of a network."""
    hidden = (net[f"v{i}"].shape[0] for i in range(2, len(net)))
    return (*hidden, net["h"].shape[0])


def weights_of(run: Result | str) -> dict[str, Array]:
    """What `network_of` returns; raises `UsageError` for a run of another model."""
    result = _result(run)
    _model(result)
    net = result.state.current["net"]
    sizes = sizes_in(net)
    us = np.split(net["u"], np.cumsum(sizes)[:-1], axis=1)
    return {f"u{i}": u for i, u in enumerate(us, 1)} | {name: net[name] for name in net if name != "u"}


def state_of(model: InputGuided, run: str, columns: int, sizes: tuple[int, ...], dtype: Any) -> Shared:
    """Weights, moments, number of steps and of epochs, and what preprocessing learnt, as `run` ended.

    The weights are those of its result. Raises `UsageError` where it is of another kind, of other widths (N =
    `columns`), or was preprocessed otherwise.
    """
    try:
        result = _result(run)
    except StoreError as error:
        raise UsageError(f"trained={run} cannot be gone on from: {error}") from error
    other = _model(result)
    current, following = result.state.current, result.state.following
    net = current["net"]
    if wrong := list(_differences(model, other, net, columns, sizes)):
        raise UsageError(f"trained={run} cannot be gone on from: {'; '.join(wrong)}")
    adam = current.get("adam", following["adam"])
    return {
        "net": _cast(net, dtype),
        "adam": {**{name: _cast(adam[name], dtype) for name in ("mean", "square")}, "count": adam["count"]},
        "view": _cast(current["view"], dtype),
        "unit": following["unit"],
        "reach": following["reach"],
        "epoch": int(current.get("epoch", following["epoch"])),
    }


def _result(run: Result | str) -> Result:
    return load(run) if isinstance(run, str) else run


def _model(result: Result) -> InputGuided:
    from nmfkit_plugins.mdsr.model import InputGuided

    if not isinstance(result.model, InputGuided):
        raise UsageError(
            f"{result.path or 'the run'} has no network: it must be a fit with --model ig-mdsr-nmf or ig-mdsr-rnmf"
        )
    return result.model


def _differences(
    model: InputGuided, other: InputGuided, net: dict[str, Array], columns: int, sizes: tuple[int, ...]
) -> list[str]:
    """Why a network of `other` is none for `model`."""
    mine, theirs, known = model.options, other.options, sizes_in(net)
    n = net["h"].shape[1]
    faults = [
        (mine.relaxed != theirs.relaxed, f"it is a fit of {other.name}, and this is one of {model.name}"),
        (known != sizes, f"its layers have {_listed(known)} units, not {_listed(sizes)}"),
        (n != columns, f"it factorizes {n:,} columns, not {columns:,}"),
        (
            mine.preprocessing != theirs.preprocessing,
            f"its data went through {_told(theirs.preprocessing)}, not {_told(mine.preprocessing)}",
        ),
    ]
    return [sentence for holds, sentence in faults if holds]


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))


def _told(preprocessing: Any) -> str:
    clip = "" if preprocessing.clip is None else f",clip={preprocessing.clip:g}"
    return f"preprocess={preprocessing.text}{clip}"


def _cast(arrays: dict[str, Array], dtype: Any) -> dict[str, Array]:
    return {name: a.astype(dtype, copy=False) for name, a in arrays.items()}
