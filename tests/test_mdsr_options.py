"""Options of the input-guided models: presets, refusals, and what a fit with them needs."""

from __future__ import annotations

import numpy as np
import pytest
from nmfkit_plugins.mdsr.options import PRESETS

import nmfkit
from nmfkit import protocols
from nmfkit.check import cautions, resolve
from nmfkit.errors import Incompatible, UsageError
from nmfkit.problem import Problem

NMF, RNMF = "ig-mdsr-nmf", "ig-mdsr-rnmf"


def made(name=NMF, rank=3, **options):
    return resolve(Problem(model=name, ranks=(rank,), model_options={k: str(v) for k, v in options.items()})).model


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("preset", "paper", "preset must be default or authors, not 'paper'"),
        ("hidden_sizes", "48,x", "hidden_sizes must be auto"),
        ("layers", "0", "layers must be at least 1"),
        ("output", "sigmoid", "output must be linear or relu"),
        ("start", "nndsvd", "start must be scaled or glorot"),
        ("batch_size", "0", "batch_size must be auto, full or a whole number"),
        ("batch_size", "2.5", "batch_size must be auto, full or a whole number"),
        ("rate", "1", "rate must be auto or a number between 0 and 1"),
        ("rate", "nan", "rate must be auto or a number between 0 and 1"),
        ("rate", "fast", "rate must be auto or a number between 0 and 1"),
        ("unit", "0", "unit must be auto or a number above 0"),
        ("unit", "inf", "unit must be auto or a number above 0"),
        ("preprocess", "whiten", "preprocess 'whiten' is unknown"),
        ("clip", "3", "clip bounds z-scores"),
        ("checkpoint", "first", "checkpoint must be best, last or accuracy"),
        ("polish", "always", "polish must be none, epoch or end"),
        ("polish_sweeps", "0", "polish_sweeps must be at least 1"),
        ("patience", "0", "patience must be none or a whole number"),
        ("relaxed", "true", "unknown parameter 'relaxed'"),
    ],
)
def test_what_is_out_of_range_is_refused(option, value, said):
    with pytest.raises(UsageError, match=said):
        made(RNMF, **{option: value})


def test_h_of_either_sign_is_the_other_model_s():
    with pytest.raises(UsageError, match="unknown parameter 'relaxed'"):
        made(NMF, relaxed="true")
    assert made(RNMF).options.relaxed
    assert not made(NMF).options.relaxed


def test_all_faults_are_told_at_once():
    with pytest.raises(UsageError) as refused:
        made(NMF, hidden_sizes="4,3", layers=5, output="x", rate=2, patience=-1, polish_sweeps=0, preprocess="y")
    for word in ("layers must be 3 or left out, not 5", "output", "rate", "patience", "polish_sweeps", "preprocess"):
        assert word in str(refused.value)


def test_least_squares_are_not_for_a_product_that_is_cut_off():
    with pytest.raises(UsageError, match="polish end needs output linear"):
        made(RNMF, output="relu", polish="end")
    assert made(NMF, output="relu", polish="end").closes


@pytest.mark.parametrize(
    ("name", "output", "said"), [(NMF, "linear", "H ≥ 0 has none"), (NMF, "relu", "relu"), (RNMF, "relu", "relu")]
)
def test_scores_of_either_sign_are_not_for_a_product_of_one(name, output, said):
    with pytest.raises(UsageError, match=f"makes negative entries, and .*{said}.*use preprocess=zscore-fold"):
        made(name, output=output, preprocess="zscore", clip=3)
    assert made(name, output=output, preprocess="zscore-fold", clip=3).signed
    assert made(RNMF, preprocess="zscore").signed


@pytest.mark.parametrize("name", [NMF, RNMF])
def test_it_takes_one_rank_and_no_parts(name):
    with pytest.raises(Incompatible, match=f"'{name}' takes one rank"):
        resolve(Problem(model=name, ranks=(3, 2)))
    with pytest.raises(Incompatible, match="uses no loss"):
        nmfkit.fit(np.ones((3, 2)), model=name, rank=2, loss="kl")


def test_options_given_beside_a_preset_win():
    authors = made(NMF, preset="authors").options
    assert (authors.output, authors.start, authors.batch, authors.rate) == ("relu", "glorot", 32, 1e-3)
    assert (authors.checkpoint, authors.patience, authors.hidden_sizes, authors.layers) == ("accuracy", 5, "paper", 3)
    assert (authors.preprocessing.text, authors.polish) == ("none", "none")
    given_beside = {
        "output": "linear", "start": "scaled", "batch_size": "full", "rate": "auto", "unit": "auto",
        "checkpoint": "last", "patience": "none", "hidden_sizes": "geometric",
    }  # fmt: skip
    assert given_beside.keys() == PRESETS["authors"].keys() == PRESETS["default"].keys()
    mixed = made(NMF, preset="authors", **given_beside).options
    assert (mixed.output, mixed.start, mixed.batch, mixed.rate) == ("linear", "scaled", 0, None)
    assert (authors.unit, mixed.unit) == (1, None)
    assert (mixed.checkpoint, mixed.patience, mixed.hidden_sizes) == ("last", None, "geometric")


@pytest.mark.parametrize(
    ("m", "batch", "rate"),
    [(10, 10, 1e-3 * 10 / 32), (1797, 32, 1e-3), (16_384, 32, 1e-3), (16_385, 64, 2e-3), (10**7, 32_768, 1e-2)],
)
def test_batches_and_rates_follow_from_the_rows(m, batch, rate):
    options = made().options
    assert options.rows(m) == batch
    assert options.step(m) == pytest.approx(rate)
    assert made(batch_size="full").options.rows(m) == m
    assert made(batch_size=64).options.rows(m) == min(64, m)
    assert made(preset="authors").options.step(m) == 1e-3


def test_epsilon_falls_with_the_columns_unless_it_is_the_authors():
    assert made().options.tiny(64) == 1e-7
    assert made().options.tiny(12_800) == pytest.approx(1e-9)
    assert made(preset="authors").options.tiny(12_800) == 1e-7


def test_a_large_network_is_told_of_with_a_way_out():
    problem = Problem(model=NMF, ranks=(400,), model_options={"hidden_sizes": "paper"})
    (told,) = cautions(resolve(problem), (10**6, 20_000))
    assert "weights, which take up to" in told
    assert "hidden_sizes geometric makes" in told
    assert cautions(resolve(Problem(model=NMF, ranks=(16,))), (10**6, 2_000)) == []


def test_it_says_what_a_fit_needs():
    model = made(RNMF, preprocess="zscore-fold")
    for protocol in (
        "HasView",
        "Judged",
        "Phased",
        "Draws",
        "KeepsBest",
        "Closes",
        "Ends",
        "Wide",
        "HasScale",
        "Embeds",
    ):
        assert isinstance(model, getattr(protocols, protocol)), protocol
    assert (made().reads, made(batch_size="full").reads) == (2, 1)
    assert (made().phased, made(batch_size="full").phased) == (True, False)
    assert (made().signed, made(RNMF).signed, made(preprocess="zscore-fold").signed) == (False, True, True)
    between = 7 * 5 + 5 * 3
    assert made(hidden_sizes="7,5").width(9) == 7 + 5 + 3 + 3 + -(-between // 9)
    assert made(hidden_sizes="7,5", preprocess="zscore-fold").width(9) == 2 * (7 + 5 + 3 + 3) + -(-between // 9)


def test_the_encoder_is_moved_slower_where_rows_are_long():
    options = made(rate="0.01").options
    assert options.pace(100, 10.0) == 1.0
    assert options.pace(100, 50.0) == 1.0
    assert options.pace(100, 500.0) == pytest.approx(0.1)
    assert made(NMF, preset="authors").options.pace(100, 1e9) == 1.0
