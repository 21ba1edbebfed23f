"""Both models: W made of the data by a trained encoder, and H ≥ 0 or of either sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from nmfkit.blocks import Array, Block
from nmfkit.errors import DataError
from nmfkit.judging import HalfSquares
from nmfkit.probe import Probe
from nmfkit.protocols import Draw, Ingredients, Initializer, Pass, Rows, RowStore, Shared, Stats, Sweep
from nmfkit.protocols.views import Measure
from nmfkit_plugins.mdsr import adam
from nmfkit_plugins.mdsr.beginning import begun, scaled
from nmfkit_plugins.mdsr.encoder import forward
from nmfkit_plugins.mdsr.gradient import encoded, residual, sums
from nmfkit_plugins.mdsr.measure import Rectified, agreements
from nmfkit_plugins.mdsr.needs import Needs
from nmfkit_plugins.mdsr.options import PRESET, options_of
from nmfkit_plugins.mdsr.patience import awaited
from nmfkit_plugins.mdsr.polish import polished
from nmfkit_plugins.mdsr.trained import sizes_in, state_of


class InputGuided(Needs):
    """min ‖Ŷ − Y‖² over the weights of an encoder and over H, with W = H_L made of Y by the encoder.

    Dutta & De, IG-MDSR-NMF and IG-MDSR-RNMF, arXiv 2405.13449 (2024); the model is that of the authors' public program.
    H_1 = σ(Y U_1), H_i = σ(Y U_i + H_{i−1} V_i), W = H_L with entries from 0 to 1, and Ŷ = W H, cut off at 0 where
    `output` is "relu". H is nonnegative, or of either sign where `relaxed`. Y is X, or what `preprocess` makes of it:
    "zscore-fold" standardizes columns, |z| ≤ `clip`, and makes two of each.

    A sweep is an epoch: one step of Adam for each batch of `batch_size` shuffled rows ("full": one step, of all rows),
    on the mean square of Ŷ − Y over the entries of the batch, then a read that makes W and the loss of all rows, which
    is what the history records. It may rise from epoch to epoch; `checkpoint` "best" returns the epoch of the lowest
    loss, "last" the last one, and "accuracy" the one in which most rows have the largest entry of Ŷ where Y has it.
    `patience` ends a fit when the mean loss of the batches has not fallen for so many epochs. `polish` makes H better
    for the W of a network, by `polish_sweeps` sweeps of HALS or, where `relaxed`, by least squares: after each "epoch",
    or at the "end" only. Weights are trained as if the entries of Y were measured in `unit`s, so that the fit of a
    multiple of X is that of X; "auto" is twice their root mean square, or 1 after z-scores. `hidden_sizes` and `layers`
    are explained in `sizes_of`, `start` in `scaled`.

    With `trained`, a run of the same model, widths and preprocessing, the fit goes on from that network. `preset`
    "authors" is what the authors' program does: output relu, Glorot's start (with H cut off at 0 at once, not after the
    first step), widths of the paper, batches of 32 rows, a fixed rate of 10⁻³ and ε of 10⁻⁷, unit 1, checkpoint
    accuracy, patience 5. Options that are given beside it win.
    """

    takes: ClassVar[frozenset[str]] = frozenset()
    embeds: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    row_factors: ClassVar[tuple[str, ...]] = ("w",)
    aside: ClassVar[int] = 0

    def __init__(
        self,
        parts: Ingredients,
        preset: str = "default",
        hidden_sizes: str = PRESET,
        layers: int | None = None,
        output: str = PRESET,
        start: str = PRESET,
        batch_size: str = PRESET,
        rate: str = PRESET,
        unit: str = PRESET,
        preprocess: str = "none",
        clip: float | None = None,
        checkpoint: str = PRESET,
        polish: str = "none",
        polish_sweeps: int = 2,
        patience: str = PRESET,
        trained: str | None = None,
        relaxed: bool = False,
    ) -> None:
        """Raises `ValueError` naming every option that is out of range."""
        given = {
            "preset": preset, "hidden_sizes": hidden_sizes, "layers": layers, "output": output, "start": start,
            "batch_size": batch_size, "rate": rate, "unit": unit, "preprocess": preprocess, "clip": clip,
            "checkpoint": checkpoint, "polish": polish, "polish_sweeps": polish_sweeps, "patience": patience,
            "trained": trained,
        }  # fmt: skip
        self.parts, self.options = parts, options_of(given, relaxed=relaxed)

    # --- the data as they are factorized -----------------------------------------------------------------------

    def view(self, x: Block, shared: Shared) -> Block:
        """The rows (k, N) of Y that belong to a block (k, n) of X."""
        return self.options.preprocessing.view(x, shared["view"])

    def columns(self, names: Sequence[str]) -> list[str]:
        """Names of the N columns of H from the n of X."""
        return self.options.preprocessing.columns(names)

    def restored(self, w: Array, shared: Shared) -> Array:
        """X̂ (k, n) in the units of X, from rows of W (k, r)."""
        y = w @ shared["net"]["h"]
        y = np.maximum(y, 0) if self.options.output == "relu" else y
        return self.options.preprocessing.back(y, shared["view"])

    def measure(self) -> Measure:
        """½ ‖Ŷ − Y‖²."""
        return Rectified() if self.options.output == "relu" else HalfSquares()

    # --- starting ----------------------------------------------------------------------------------------------

    def start(
        self, initializer: Initializer | None, sweep: Sweep, probe: Probe, seed: int, dtype: Any
    ) -> tuple[RowStore, Shared]:
        """The W of a new network, or of a trained one, and the state before the first sweep.

        Raises `DataError` for negative entries where Ŷ has none, `UsageError` where `trained` is no run to go on from.
        """
        del initializer
        self._refuse_negative(probe)
        (m, n), options = probe.shape, self.options
        columns, sizes = options.preprocessing.width(n), self.sizes(n)
        first: Shared
        if options.trained is None:
            unit = options.measure(probe.squares / (m * n))
            net = begun(columns, sizes, seed, dtype, unit)
            first = {"net": net, "unit": unit, "view": options.preprocessing.learn(sweep, dtype), "epoch": 0}
        else:
            first = state_of(self, options.trained, columns, sizes, dtype)
        rows, found = sweep(self.first_look, None, first)
        if options.trained is None:
            h = self._beginning(first["net"]["h"], found, m)
            first["net"] = {**first["net"], "h": h}
            first["adam"] = adam.at_rest(first["net"])
            first["reach"] = float(np.sum(np.abs(found["y"]))) / (m * first["unit"])
        batches = -(-m // options.rows(m))
        shared = {**first, "batch": batches, "rows": m, "seed": seed, "squares": float(found["squares"])}
        return rows, shared | self._records(first["net"])

    def _refuse_negative(self, probe: Probe) -> None:
        options = self.options
        if probe.low < 0 and options.output == "relu" and not options.preprocessing.standardizes:
            raise DataError(
                f"the matrix has negative entries, down to {probe.low:.6g}, and output relu can only make nonnegative "
                "ones: use output=linear, or preprocess=zscore-fold"
            )

    def first_look(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The step of the sweep before the first: W of a block, and sums over its rows."""
        del rows
        y, net = self.view(x, shared), shared["net"]
        w = forward(y, net, sizes_in(net))[-1]
        ones = np.ones_like(w, shape=(len(w), 1), dtype=np.float64)
        return {"w": w}, {"w": np.sum(w, axis=0, dtype=np.float64), "y": y.tdot(ones)[:, 0], "squares": y.squares()}

    def _beginning(self, drawn: Array, found: Stats, m: int) -> Array:
        """H before the first step, from numbers of either sign."""
        if self.options.start == "scaled":
            return scaled(drawn, found["y"] / m, found["w"] / m)
        return drawn if self.options.relaxed else np.maximum(drawn, 0)

    def _records(self, net: dict[str, Array]) -> Shared:
        """What is kept of the epochs so far, before there is any."""
        stale = {"sum": 0.0, "rows": 0.0, "least": math.inf, "wait": 0}
        return {"stale": stale} | ({"kept": {"score": -math.inf, "net": net}} if self.closes else {})

    # --- the batches of an epoch -------------------------------------------------------------------------------

    def phase(self, shared: Shared) -> Pass | None:
        """The next batch of the epoch."""
        size = self.options.rows(shared["rows"])
        if shared["batch"] * size >= shared["rows"]:
            return None
        seen = {"net": shared["net"], "view": shared["view"]}
        order = (shared["seed"], shared["epoch"])
        return Pass(self.on_batch, seen, data=True, draw=Draw(size, shared["batch"], order))

    def on_batch(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """The gradient of some rows of a batch."""
        del rows
        y, net = self.view(x, shared), shared["net"]
        return {}, sums(y, net, sizes_in(net), self.options.output)

    def after(self, shared: Shared, stats: Stats) -> Shared:
        """The state after a step of Adam, from the sums of a batch."""
        stale = shared["stale"]
        stale = {**stale, "sum": stale["sum"] + stats["squares"], "rows": stale["rows"] + stats["rows"]}
        return {**shared, **self._stepped(shared, stats), "batch": shared["batch"] + 1, "stale": stale}

    def _stepped(self, shared: Shared, stats: Stats) -> Shared:
        net, options = shared["net"], self.options
        columns = net["h"].shape[1]
        moved, moments = adam.stepped(
            net,
            stats,
            shared["adam"],
            options.step(shared["rows"]),
            options.tiny(columns),
            nonnegative=() if options.relaxed else ("h",),
            per=stats["rows"] * columns * shared["unit"] ** 2,
            units={"u": 1 / shared["unit"], "h": shared["unit"]},
            paces={"u": options.pace(shared["rows"], shared["reach"])},
        )
        return {"net": moved, "adam": moments}

    # --- the end of an epoch -----------------------------------------------------------------------------------

    def local(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """W of a block and its loss, and what the next step, the polish and the checkpoint are made of."""
        del rows
        y, net, options = self.view(x, shared), shared["net"], self.options
        stats: dict[str, Any] = {}
        if options.full:
            w, stats["sums"] = encoded(y, net, sizes_in(net), options.output)
            loss = stats["sums"]["squares"]
        else:
            w = forward(y, net, sizes_in(net))[-1]
            loss = residual(y, w, net["h"], options.output)
        if options.gathers_cross:
            wide = w.astype(np.float64)  # a nearly singular WᵀW would follow the rounding of float32
            stats |= {"gram": wide.T @ wide, "cross": y.tdot(wide).T}
        if options.checkpoint == "accuracy":
            stats["hits"] = agreements(y, w, net["h"], options.output)
        return {"w": w}, {**stats, "value": 0.5 * loss}

    def apply(self, shared: Shared, stats: Stats) -> Shared:
        """The state in which the next epoch is due."""
        now = {**shared, "batch": 0, "epoch": shared["epoch"] + 1}
        stale = shared["stale"]
        if self.closes:
            now["kept"] = self._kept(shared, stats)
        if self.options.full:
            now |= self._stepped(shared, stats["sums"])
            stale = {**stale, "sum": stats["sums"]["squares"], "rows": stats["sums"]["rows"]}
        if self.options.polish == "epoch":
            now["net"] = {**now["net"], "h": self._polished(shared["net"]["h"], stats)}
        return {**now, "stale": awaited(stale, shared["net"]["h"].shape[1])}

    def _kept(self, shared: Shared, stats: Stats) -> Shared:
        """The network of the epoch that counts so far, with what its polish needs."""
        checkpoint = self.options.checkpoint
        score = -float(stats["value"])
        if checkpoint == "accuracy":
            score = float(stats["hits"]) if shared["epoch"] else -1.0  # a start is no epoch, whatever it hits
        if checkpoint != "last" and score <= shared["kept"]["score"]:
            kept: Shared = shared["kept"]
            return kept
        moments = {name: stats[name] for name in ("gram", "cross") if name in stats}
        return {"score": score, "net": shared["net"], **moments}

    def _polished(self, h: Array, stats: Stats) -> Array:
        options = self.options
        return polished(h, stats["gram"], stats["cross"], relaxed=options.relaxed, sweeps=options.polish_sweeps)

    def ended(self, shared: Shared) -> str | None:
        """Patience that has come to its end."""
        patience = self.options.patience
        return "patience" if patience is not None and shared["stale"]["wait"] >= patience else None

    # --- judging and closing -----------------------------------------------------------------------------------

    def objective(self, shared: Shared, stats: Stats) -> float:
        """½ ‖Ŷ − Y‖² of all rows."""
        del shared
        return float(stats["value"])

    def scale(self, shared: Shared) -> float:
        """‖Y‖²: the terms of the loss cancel where the fit is close."""
        return float(shared["squares"])

    def closing_state(self, shared: Shared) -> Shared:
        """The network of the epoch that counts, with a better H where that is asked for."""
        kept = shared["kept"]
        net = kept["net"]
        if "gram" in kept:
            net = {**net, "h": self._polished(net["h"], kept)}
        return {"net": net, "view": shared["view"], "rows": shared["rows"], "squares": shared["squares"]}

    def closing(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """W of that network, and its loss."""
        return self.encode(x, rows, shared)

    def encode(self, x: Block, rows: Rows, shared: Shared) -> tuple[Rows, Stats]:
        """W of new rows, by one pass through the encoder."""
        del rows
        y, net = self.view(x, shared), shared["net"]
        w = forward(y, net, sizes_in(net))[-1]
        return {"w": w}, {"value": 0.5 * residual(y, w, net["h"], self.options.output)}

    def onto(self, shared: Shared, rows: int) -> Shared:
        """The state to go on from with other data of so many rows: an epoch of them is due.

        Network, moments and what preprocessing learnt stay; epochs are numbered on, so that no order comes twice.
        Scores of other data do not count.
        """
        squares_now = shared["squares"] * rows / shared["rows"]
        epoch = shared["epoch"] + (shared["batch"] > 0)  # the next one, where the state is that of a start
        onward = {**shared, "rows": rows, "batch": 0, "epoch": epoch, "squares": squares_now}
        return onward | self._records(shared["net"])

    def factors(self, shared: Shared) -> dict[str, Array]:
        """{"h": (r, N)}."""
        return {"h": shared["net"]["h"]}
