"""NMF with the parameters, the attributes and the habits of scikit-learn's."""

from __future__ import annotations

from functools import partial
from typing import Any

from nmfkit.blocks import Array
from nmfkit.estimators import parameters
from nmfkit.estimators.base import ModelEstimator, rows_of
from nmfkit.estimators.errors import as_value_errors
from nmfkit.estimators.inputs import matrix_of
from nmfkit.estimators.starts import drawn, given
from nmfkit.estimators.stream import Stream, advance
from nmfkit.executors.machine import Machine, here
from nmfkit.probe import Expected
from nmfkit.result import Result


class NMF(ModelEstimator):
    """min Σ d(x, (WH)) + regularizers over W (m, n_components) ≥ 0 and H (n_components, n) ≥ 0.

    The parameters up to `shuffle` are those of `sklearn.decomposition.NMF` and mean the same: α is scaled by the
    data's size, `init=None` is `nndsvda` or `random`, a `random` start of an array in memory is scikit-learn's,
    number by number. Only the way to the minimum is nmfkit's: either `solver` takes any loss and leaves the rule to
    `rule="auto"`, and `shuffle` has no effect.

    Those after it are nmfkit's own, as in `nmfkit.fit`: `loss` and `rule` take the place of `beta_loss` and `solver`,
    `reg_w` and `reg_h` are added to the scaled regularizers as they stand, `key` names the matrix inside a file or an
    AnnData object, `missing` says which entries are missing. `forget_factor` is for `partial_fit`: what earlier
    batches told counts so many times as much after each further one; None lets it count less and less slowly, so that
    many passes over the same batches end where `fit` does. Raises `ValueError` with all faults of the parameters.
    """

    _expected = Expected()

    def __init__(
        self,
        n_components: Any = "auto",
        *,
        init: Any = None,
        solver: Any = "cd",
        beta_loss: Any = "frobenius",
        tol: Any = 1e-4,
        max_iter: Any = 200,
        random_state: Any = None,
        alpha_W: Any = 0.0,
        alpha_H: Any = "same",
        l1_ratio: Any = 0.0,
        verbose: Any = 0,
        shuffle: Any = False,
        loss: Any = None,
        rule: Any = None,
        reg_w: Any = (),
        reg_h: Any = (),
        pilot: Any = "auto",
        time_limit: Any = None,
        missing: Any = "none",
        forget_factor: Any = None,
        dtype: Any = None,
        key: Any = None,
        memory: Any = None,
        threads: Any = None,
        workers: Any = None,
        threads_per_worker: Any = None,
        scheduler: Any = None,
        scheduler_file: Any = None,
        device: Any = None,
        device_memory: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.beta_loss = beta_loss
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.verbose = verbose
        self.shuffle = shuffle
        self.loss = loss
        self.rule = rule
        self.reg_w = reg_w
        self.reg_h = reg_h
        self.pilot = pilot
        self.time_limit = time_limit
        self.missing = missing
        self.forget_factor = forget_factor
        self.dtype = dtype
        self.key = key
        self.memory = memory
        self.threads = threads
        self.workers = workers
        self.threads_per_worker = threads_per_worker
        self.scheduler = scheduler
        self.scheduler_file = scheduler_file
        self.device = device
        self.device_memory = device_memory

    def fit(self, X: Any, y: Any = None, W: Any = None, H: Any = None, *, mask: Any = None, weights: Any = None) -> NMF:
        """Fit to X (m, n), from W (m, n_components) and H (n_components, n) if `init="custom"`."""
        del y
        self._fit(X, W, H, mask=mask, weights=weights)
        return self

    def fit_transform(
        self, X: Any, y: Any = None, W: Any = None, H: Any = None, *, mask: Any = None, weights: Any = None
    ) -> Array:
        """`fit`, and W (m, n_components) as it was fitted."""
        del y
        return rows_of(self._fit(X, W, H, mask=mask, weights=weights))

    def partial_fit(self, X: Any, y: Any = None, W: Any = None, H: Any = None) -> NMF:
        """Go on with one more batch X (rows, n): its W is fitted to the present H, then H is renewed.

        What each batch tells about H is an exact majoriser of its loss, made with its W; their sum, in which earlier
        ones fade by `forget_factor`, is kept, not the batches, and H is its minimiser or a step towards it. H of the
        first call is the start unless components are fitted already. `alpha_H` is scaled by the rows that the sum
        stands for. W is passed over. Works in this process, whatever `workers` says. Sets `n_steps_`, the number of
        batches so far.
        """
        del y, W
        with as_value_errors():
            parameters.refuse(self)
            first = not hasattr(self, "components_")
            x = matrix_of(self, X, reset=first)
            if first:
                self._stream = None
            rank = parameters.rank(self, x.shape[1], H) if first else self.n_components_
            whole = self.missing == "none"
            h = self._start(x, rank, None, H, whole=whole).get("h") if first else self.components_
            before: Stream | None = self.__dict__.get("_stream")
            if before is not None:
                parameters.refuse_other_loss(self, before.encoder.problem.loss)
            stream = advance(
                before,
                x,
                partial(self._stream_fields, rank, x.shape, h is not None),
                h=h,
                forget=self.forget_factor,
                missing=self.missing,
                machine=Machine.ready(here(self._machine())),
            )
        self._forget_fit()
        self._stream, self._encoder = stream, stream.encoder
        self.components_, self.n_components_, self.n_steps_ = stream.h, rank, stream.steps
        return self

    def _stream_fields(self, rank: int, shape: tuple[int, int], started: bool, rows: float) -> dict[str, Any]:
        """The fields of the problem for a stream of batches of this shape that stands for so many `rows`."""
        init = "random" if started or self.__dict__.get("_stream") else parameters.init(self, rank, shape)
        regularizers = parameters.regularizers(self, (rows, shape[1]))
        return {**self._common(), "ranks": (rank,), "loss": parameters.loss(self), "init": init, **regularizers}

    def _fields(self, shape: tuple[int, int], h: Any) -> dict[str, Any]:
        parameters.refuse(self)
        rank = parameters.rank(self, shape[1], h)
        return {
            "loss": parameters.loss(self),
            "rule": "auto" if self.rule is None else self.rule,
            "ranks": (rank,),
            "init": parameters.init(self, rank, shape),
            **parameters.regularizers(self, shape),
        }

    def _common(self) -> dict[str, Any]:
        common = super()._common()
        # Scikit-learn's mu compares errors √(2 loss), which fall half as fast as losses.
        return {**common, "tol": 2 * self.tol} if self.solver == "mu" else common

    def _start(self, x: Any, rank: int, w: Any, h: Any, *, whole: bool) -> dict[str, Any]:
        found = given(self.init, w, h)
        if found or parameters.init(self, rank, x.shape) != "random" or not whole:
            return found
        return drawn(x, rank, self.random_state)

    def _note(self, result: Result, x: Any) -> None:
        super()._note(result, x)
        self.__dict__.pop("n_steps_", None)
        self._stream = None
