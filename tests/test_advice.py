"""Which rank is recommended, by a table of what the fits say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nmfkit.selection.advice import advise, within_one_error
from nmfkit.selection.table import RankRow


def row(rank, losses, silhouette=1.0, weakest=1.0, replicates=4):
    return RankRow(
        rank=rank, replicates=replicates, objective=1.0, best_seed=0, relative_error=0.1, decrease=0.1, held_out=1.0,
        relative=float(np.mean(losses)), standard_error=0.0, similarity=1.0, silhouette=silhouette, weakest=weakest,
        cophenetic=1.0, dispersion=1.0, converged=1.0, losses=tuple(losses),
    )  # fmt: skip


NEAR = [0.51, 0.49, 0.52, 0.49]
FAR = [0.7, 0.71, 0.72, 0.7]


def test_the_least_held_out_loss_wins():
    found = advise([row(2, FAR), row(3, [0.5] * 4), row(4, FAR, 0.5, -0.2)])
    assert (found.rank, found.stable) == (3, True)
    assert "the least" in found.why
    assert "disagree" in found.why


def test_of_equals_the_highest_stable_rank_is_taken():
    rows = [row(2, FAR), row(3, [0.5] * 4), row(4, NEAR), row(5, NEAR, 0.9, 0.1), row(6, NEAR, 0.7, 0.5)]
    assert [r.rank for r in within_one_error(rows)[1]] == [3, 4, 5, 6]
    found = advise(rows)
    assert found.rank == 4
    assert "within one standard error of the least (rank 3)" in found.why


def test_without_stable_ranks_the_lowest_is_taken_and_said_to_be_unstable():
    found = advise([row(2, FAR), row(3, NEAR, 0.4), row(4, [0.5] * 4, 0.3)])
    assert (found.rank, found.stable) == (3, False)
    assert "replicates disagree" in found.why
    assert "up to rank 2 they agree" in found.why


def test_no_replicate_outweighs_the_others():
    # One replicate with a hundred times the loss prefers rank 3; three prefer rank 4 by as large a ratio.
    rows = [row(3, [0.5, 0.5, 0.5, 50.0]), row(4, [0.4, 0.4, 0.4, 55.0])]
    assert advise([rows[0], replace(rows[1], silhouette=0.1)]).least == 4


def test_replicates_without_a_loss_do_not_count():
    some = [row(2, [0.7, np.nan, 0.72, 0.7]), row(3, [0.5, 0.4, 0.5, 0.5]), row(4, [0.9, 0.1, np.nan, 0.9])]
    assert advise(some).rank == 3
    found = advise([row(2, [np.nan] * 4), row(3, [0.5, np.nan] * 2)])
    assert (found.rank, found.least) == (2, 2)
    assert "tells nothing" in found.why


def test_predictions_that_are_exact_are_equal():
    found = advise([row(2, FAR), row(3, [1e-14] * 4), row(4, [1e-18] * 4, 0.5, 0.3)])
    assert (found.rank, found.least, found.candidates) == (3, 3, (3, 4))


def test_what_the_ranks_cannot_tell_is_said():
    assert "try higher" in advise([row(2, FAR), row(3, NEAR)]).why
    assert "try lower" in advise([row(2, NEAR), row(3, FAR)]).why
    assert "no rank predicts" in advise([row(2, [1.2] * 4), row(3, [1.3] * 4)]).why
    assert "single replicate" in advise([row(2, [0.5], replicates=1), row(3, [0.6], replicates=1)]).why
