"""scikit-learn."""

import warnings

from course import marks

from solvers.shapes import refitted, stepwise

NAMES = {2.0: "frobenius", 1.0: "kullback-leibler", 0.0: "itakura-saito"}


def factorization(solver):
    """`non_negative_factorization` by coordinate descent or multiplicative updates."""

    @stepwise
    def steps(work, threads):
        from sklearn.decomposition import non_negative_factorization

        del threads  # those of BLAS, from the environment
        w, h, done = work.w.copy(), work.h.copy(), 0
        for mark in marks():
            with unconverged():
                w, h, _ = non_negative_factorization(
                    work.x, W=w, H=h, n_components=work.rank, init="custom", solver=solver, tol=0,
                    beta_loss=NAMES[work.beta], max_iter=mark - done,
                )  # fmt: skip
            done = mark
            yield mark, w, h

    return steps


@refitted
def minibatch(work, threads, epochs):
    """`MiniBatchNMF`, whose running sums are a memory; an iteration is an epoch."""
    from sklearn.decomposition import MiniBatchNMF

    del threads
    model = MiniBatchNMF(
        work.rank, init="custom", beta_loss=NAMES[work.beta], max_iter=epochs, tol=0, max_no_improvement=None,
        random_state=0,
    )  # fmt: skip
    with unconverged():
        w = model.fit_transform(work.x, W=work.w.copy(), H=work.h.copy())
    return w, model.components_


def unconverged():
    """Hears no complaint that so few iterations are not enough."""
    return warnings.catch_warnings(action="ignore")
