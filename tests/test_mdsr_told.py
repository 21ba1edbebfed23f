"""What the commands and pages say of input-guided models: nothing that holds of other models alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from nmfkit_plugins.mdsr.diagnostics import Diagnosis
from nmfkit_plugins.mdsr.telling import PER_WEIGHT
from scipy.sparse import csr_array
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.cli.summary import why
from nmfkit.errors import DataError, UsageError
from nmfkit.loop import Watcher
from nmfkit.report.cautions import cautions
from nmfkit.report.sections import fitted as what_was_fitted
from nmfkit.report.study import study
from nmfkit.score import score

NMF, RNMF = "ig-mdsr-nmf", "ig-mdsr-rnmf"
QUIET = Watcher()


def data(m=60, n=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((m, 3)) @ rng.random((3, n)) + 0.1 * rng.random((m, n))


def fitted(x, model=NMF, sweeps=3, out=None, **options):
    return nmfkit.fit(x, model=model, rank=3, max_sweeps=sweeps, out=out, watcher=QUIET, model_options=options)


def explained(x, model=NMF, **options):
    return nmfkit.explain(x, model=model, rank=3, model_options=options)


def run(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output


def table(path, x, names):
    lines = [",".join(names), *(",".join(map(repr, row.tolist())) for row in x)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_explain_tells_the_network_and_its_batches():
    told = explained(data(), hidden_sizes="5,4", batch_size=16)
    weights = 7 * (5 + 4 + 3 + 3) + 5 * 4 + 4 * 3
    assert told.told["network"] == "layers of 5, 4 and 3 units, each reads 7 columns"
    assert told.told["weights"].startswith(f"{weights:,}: ")
    assert told.told["batches"].startswith("4 batches of 16 rows a sweep")
    assert json.loads(json.dumps(told.as_dict()))["told"] == told.told
    for line in told.told.values():
        assert line in str(told)
    folded = explained(data(), hidden_sizes="5,4", batch_size="full", preprocess="zscore-fold").told
    assert "reads 14 columns" in folded["network"]
    assert folded["batches"] == "all rows at once: one step a sweep"
    assert explained(data(), layers=1).told["network"].startswith("one layer of 3 units")
    assert explained(data(), model="nmf").told == {}


def test_the_work_of_a_sweep_is_that_of_the_network():
    units, between, cells, weights = 5 + 4 + 3, 5 * 4 + 4 * 3, 60 * 7, 7 * 15 + 32
    step = 2 * (2 * cells * units + 3 * 60 * between + 3 * cells * 3)
    full = explained(data(), hidden_sizes="5,4", batch_size="full").operations_per_sweep
    assert full == step + PER_WEIGHT * weights
    passes = 2 * (cells * units + 60 * between + cells * 3)
    batches = explained(data(), hidden_sizes="5,4", batch_size=16).operations_per_sweep
    assert batches == step + passes + 4 * PER_WEIGHT * weights
    thin = csr_array(np.where(data() > 1.5, data(), 0))
    assert thin.nnz < cells
    sparse, formed = (explained(thin, batch_size="full", output=o).operations_per_sweep for o in ("linear", "relu"))
    folded = explained(thin, batch_size="full", preprocess="zscore-fold").operations_per_sweep
    assert sparse < formed < folded


def test_explain_blames_no_loss_that_the_model_does_not_have():
    thin = csr_array(np.where(data() > 1.5, data(), 0))
    text = str(explained(thin, output="relu"))
    assert f"model '{NMF}' needs every entry of WH" in text
    assert "loss" not in text.replace("W and the loss", "")
    assert "kl" not in text
    assert "at most one sweep over X of the model's own comes first" in text


def test_neither_watch_nor_a_page_shows_parts_that_the_model_does_not_take(tmp_path):
    x = np.save(tmp_path / "x.npy", data()) or tmp_path / "x.npy"
    fitted(str(x), out=tmp_path / "run.zarr")
    code, seen = run("watch", tmp_path / "run.zarr", "--once")
    assert code == 0
    assert "ig-mdsr-nmf, rank 3\n" in seen
    assert "loss" not in seen
    page = str(what_was_fitted(study(str(tmp_path / "run.zarr"), data=False)))
    assert "auto, seed 0" not in page
    assert "seed 0" in page
    nmfkit.fit(str(x), rank=3, max_sweeps=2, out=tmp_path / "nmf.zarr", watcher=QUIET)
    assert "loss frobenius" in run("watch", tmp_path / "nmf.zarr", "--once")[1]


def test_patience_is_said_to_be_the_model_s_own():
    result = fitted(data(), sweeps=200, patience=1, rate=0.9)
    assert result.stopped_by == "patience"
    assert why(result) == "ended by the model: patience"


def test_negative_entries_name_the_way_out_of_the_model():
    with pytest.raises(DataError, match=r"preprocess=zscore-fold of this model, or model ig-mdsr-rnmf"):
        fitted(-data())
    with pytest.raises(DataError, match=r"as agd or ig-mdsr-rnmf"):
        nmfkit.fit(-data(), rank=3, watcher=QUIET)
    fitted(-data(), preprocess="zscore-fold")
    fitted(-data(), RNMF)


def test_an_estimator_names_it_too():
    estimators = pytest.importorskip("nmfkit.estimators", exc_type=ImportError)
    with pytest.raises(ValueError, match=r"Negative values in data passed to IGMDSR.*zscore-fold"):
        estimators.IGMDSR(3).fit(-data())
    with pytest.raises(ValueError, match=r"Negative values in data passed to NMF.*agd"):
        estimators.NMF(3).fit(-data())


class Notes(Watcher):
    def found(self, probe):
        self.notes = probe.notes()


def test_rows_and_columns_of_zeros_have_no_zeros_in_an_embedding():
    x = data()
    x[4], x[9], x[:, 2] = 0, 0, 0
    told = {}
    for model in (NMF, "nmf"):
        watcher = Notes()
        result = nmfkit.fit(x, model=model, rank=3, max_sweeps=40, watcher=watcher)
        texts = [c.text for c in cautions(study(result, x)) if c.kind.startswith("zero-")]
        told[model] = " ".join([*watcher.notes, *texts])
    assert told[NMF].count("rows of W are alike") == 2
    assert told[NMF].count("there is nothing to learn from them") == 2
    assert "go to zero" not in told[NMF]
    assert told["nmf"].count("go to zero") == 4
    w = fitted(x).w
    assert np.array_equal(w[4], w[9])
    assert w[4].min() > 0


def test_a_report_tells_of_dead_outputs_that_have_something_to_fit():
    x = data()
    x[:, 2] = 0
    result = fitted(x, RNMF, output="relu")
    result.state.current["net"]["h"][:, [0, 2, 5]] = -1.0
    (told,) = (c.text for c in cautions(study(result, x)) if c.kind == "model")
    assert told.startswith("2 outputs are dead, and have something to fit: 0, 5. ")
    (told,) = (c.text for c in cautions(study(result)) if c.kind == "model")
    assert told.startswith("3 outputs are dead (right where the data are all zero): 0, 2, 5. ")
    healthy = fitted(x, sweeps=40)
    assert [c for c in cautions(study(healthy, x)) if c.kind == "model"] == []


def test_saturated_codes_are_told_where_they_are_most():
    def faults(below, above):
        return Diagnosis(np.arange(0), below, above, 0.5, 1.0).faults(None, None)

    assert faults(0.5, 0.15) == []
    (said,) = faults(0.5, 0.4)
    assert said.startswith("90 % of the entries of W are below 0.01 or above 0.99")


def test_columns_in_another_order_are_refused(tmp_path):
    x, names = data(), list("abcdefg")
    result = fitted(str(table(tmp_path / "x.csv", x, names)))
    turned = table(tmp_path / "turned.csv", x[:, ::-1], names[::-1])
    renamed = table(tmp_path / "renamed.csv", x, [f"{name}2" for name in names])
    for asked in (result.transform, lambda path: score(result, path)):
        with pytest.raises(UsageError, match="in another order: column 0 is 'g', and was 'a'"):
            asked(str(turned))
        asked(str(renamed))
    assert np.allclose(result.transform(str(renamed)), result.w)
    with pytest.raises(UsageError, match=r"the run has 7 features, and .* has 6"):
        result.transform(x[:, :6])


def test_widths_may_be_a_list():
    assert fitted(data(), hidden_sizes=[6, 5]).problem.model_options["hidden_sizes"] == "6+5"


def test_a_run_to_go_on_from_is_named_where_it_is_missing(tmp_path):
    with pytest.raises(UsageError, match=r"trained=.*none\.zarr cannot be gone on from: .*does not exist"):
        fitted(data(), trained=str(tmp_path / "none.zarr"))


def test_plugins_info_explains_the_options():
    code, told = run("plugins", "info", NMF)
    assert code == 0
    assert "`patience` ends a fit when the mean loss of the batches has not fallen" in told
    about = {name: json.loads(run("plugins", "info", name, "--json")[1])["plugins"][0]["about"] for name in (NMF, "l1")}
    assert about[NMF].startswith("min ‖Ŷ − Y‖²")
    assert "weight" not in about["l1"].split("\n")[0], "what Python writes of a dataclass is no text"


def test_an_end_above_the_lowest_by_less_than_is_shown_is_not_told():
    result = fitted(data(), sweeps=12, rate=0.9, checkpoint="last")
    kinds = []
    for above in (1e-7, 1e-2):
        first, *between, last = result.state.history
        low = replace(first, objective=last.objective / (1 + above))
        state = replace(result.state, history=(low, *(replace(r, objective=2 * last.objective) for r in between), last))
        kinds.append([c.kind for c in cautions(study(replace(result, state=state), data()))])
    assert "rose" not in kinds[0]
    assert "rose" in kinds[1]


def test_a_network_that_fits_no_memory_is_not_said_to_be_components():
    with pytest.raises(UsageError, match=r"columns of weights of 50,000 features .*: choose smaller layers"):
        explained(np.ones((2, 50_000)), hidden_sizes="9000000")
