"""Solvers in plain Python and NumPy."""

import numpy as np
from course import marks

from solvers.shapes import refitted, stepwise


def nn_fac(rule):
    """nn-fac's NMF by one of its update rules."""

    @stepwise
    def steps(work, threads):
        from nn_fac.nmf import nmf

        del threads
        w, h, done = work.w.copy(), work.h.copy(), 0
        for mark in marks():
            w, h = nmf(
                work.x, work.rank, init="custom", U_0=w, V_0=h, n_iter_max=mark - done, tol=0, update_rule=rule,
                beta=work.beta,
            )  # fmt: skip
            done = mark
            yield mark, w, h

    return steps


@refitted
def gensim(work, threads, passes):
    """gensim's online NMF, from a start of its own; an iteration is a pass over the documents."""
    from gensim.matutils import Sparse2Corpus, corpus2csc
    from gensim.models.nmf import Nmf

    del threads
    corpus = Sparse2Corpus(work.x, documents_columns=False)
    model = Nmf(
        corpus, num_topics=work.rank, id2word={j: str(j) for j in range(work.x.shape[1])}, passes=passes,
        normalize=False, random_state=0, eval_every=None, minimum_probability=0,
    )  # fmt: skip
    model.normalize = False
    topics = model._W.toarray() if hasattr(model._W, "toarray") else np.asarray(model._W)
    return corpus2csc(model[corpus], num_terms=work.rank).T.toarray(), topics.T
