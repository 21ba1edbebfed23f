"""A model that factorizes what it makes of X is shown, judged and undone as what it is."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import scipy.sparse as sp
from pages import check
from typer.testing import CliRunner
from viewed import Viewed, cut, plain, standardized

import nmfkit
from nmfkit import registry
from nmfkit.blocks import Dense
from nmfkit.cli.app import app
from nmfkit.errors import UsageError
from nmfkit.export import export
from nmfkit.hookspecs import PartSpec
from nmfkit.registry import Registered
from nmfkit.report import KINDS, write_picture, write_report
from nmfkit.report.cautions import cautions
from nmfkit.report.study import study
from nmfkit.score import score

RNG = np.random.default_rng(5)
M, N, R = 40, 6, 3
X = RNG.gamma(0.8, 3.0, (M, N)) * (RNG.random((M, N)) < 0.7)
OTHER = RNG.gamma(0.8, 3.0, (7, N))
ROWS, FEATURES = [f"s{i}" for i in range(M)], [f"f{j}" for j in range(N)]
MADE = [f"{name} {side}" for side in ("high", "low") for name in FEATURES]
MODELS = {"folded": Viewed, "cut": cut, "standardized": standardized, "plain": plain}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The models under their names."""
    known = registry.registry()
    parts = {
        ("model", name): [Registered("model", PartSpec(name, "for tests", made), "tests", "1", "tests")]
        for name, made in MODELS.items()
    }
    monkeypatch.setattr(known, "claims", {**known.claims, **parts})


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, rows=ROWS, features=FEATURES)
    return f"{tmp_path}/x.npz"


@pytest.fixture
def fit(tmp_path, data):
    def made(model="folded", x=data, **options):
        options = {"key": "x"} | options if isinstance(x, str) else options
        out = tmp_path / f"{model}.zarr"
        return nmfkit.fit(x, model=model, rank=R, max_sweeps=2, seed=1, out=out, overwrite=True, **options)

    return made


def scores(x, of=X):
    """Y by the formula, from means and deviations of `of`."""
    z = (x - of.mean(axis=0)) / of.std(axis=0)
    return z, np.concatenate((np.maximum(z, 0), np.maximum(-z, 0)), axis=1)


def fitted(result, w):
    y = w @ result.h
    return np.maximum(y, 0) if result.problem.model == "cut" else y


def of_view(model, x):
    z, y = scores(x)
    return {"standardized": z, "plain": x}.get(model, y)


def in_units(model, y):
    """X̂ of Ŷ by the formula."""
    if model == "plain":
        return y
    z = y if model == "standardized" else y[:, :N] - y[:, N:]
    return z * X.std(axis=0) + X.mean(axis=0)


def run(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


# --- results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_come_back_in_the_units_of_x(model, sparse, fit):
    result = fit(model, sp.csr_array(X) if sparse else X)
    whole = in_units(model, fitted(result, result.w))
    np.testing.assert_allclose(result.reconstruct(), whole, atol=1e-12)
    for rows in (slice(3, 9), slice(None, None, -5), slice(7, 7), slice(-4, None, 2)):
        np.testing.assert_array_equal(result.reconstruct(rows), result.reconstruct()[rows])
    again = nmfkit.load(result.path)
    np.testing.assert_array_equal(again.reconstruct(), result.reconstruct())


def test_other_models_reconstruct_by_their_product(tmp_path):
    result = nmfkit.fit(np.abs(X), rank=R, max_sweeps=3, out=tmp_path / "a.zarr")
    np.testing.assert_allclose(result.reconstruct(slice(2, 5)), result.w[2:5] @ result.h, rtol=1e-12)
    assert (result.column_names, result.width, result.is_viewed) == (None, N, False)
    deep = nmfkit.fit(np.abs(X), model="deep-nmf", ranks=(3, 2), max_sweeps=3)
    first = deep.levels[0]
    np.testing.assert_allclose(deep.reconstruct(), first.coefficients @ first.components, rtol=1e-12)


def test_what_is_no_product_is_not_reconstructed(fit, monkeypatch):
    result = fit("plain")
    monkeypatch.setattr(Viewed, "factors", lambda self, shared: {"h": shared["h"][:-1]})
    with pytest.raises(UsageError, match=r"X̂ is made of a product of two factors"):
        result.reconstruct()


@pytest.mark.parametrize("model", MODELS)
def test_columns_have_names_of_their_own(model, fit):
    result = nmfkit.load(fit(model).path)
    made = MADE if model in ("folded", "cut") else FEATURES
    assert list(result.column_names) == made
    assert list(result.feature_names) == FEATURES
    assert result.width == len(made) == result.h.shape[1]
    assert result.fits_columns == (made is FEATURES)
    assert result.is_viewed == (model != "plain")
    group = nmfkit.store.RunStore.open(result.path)
    assert group.names("features") == FEATURES
    assert (None if made is FEATURES else made) == group.names("columns")


def test_columns_without_names_are_numbers(fit):
    assert fit("folded", X).column_names[:: N + 1] == ["column 0 high", "column 1 low"]
    assert fit("standardized", X).column_names is None


def test_a_result_is_saved_with_its_columns(fit, tmp_path):
    fit("folded").save(tmp_path / "again.zarr")
    assert nmfkit.store.RunStore.open(tmp_path / "again.zarr").names("columns") == MADE


# --- scores -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sparse", [False, True])
def test_the_run_is_judged_by_what_it_fits(model, sparse, fit):
    result = fit(model, sp.csr_array(X) if sparse else X)
    y = of_view(model, X)
    own = score(result, sp.csr_array(X) if sparse else X)
    left = np.linalg.norm(y - fitted(result, result.w))
    assert own.loss == pytest.approx(0.5 * left**2, rel=1e-9)
    assert own.relative_error == pytest.approx(left / np.linalg.norm(y), rel=1e-9)
    assert own.loss == pytest.approx(result.objective, rel=1e-9)
    other = score(result, OTHER)
    w = result.transform(OTHER)
    left = np.linalg.norm(of_view(model, OTHER) - fitted(result, w))
    assert other.relative_error == pytest.approx(left / np.linalg.norm(of_view(model, OTHER)), rel=1e-9)
    assert set(own.sparsity) == {"w", "h"}
    mass = result.w.sum(axis=0) * np.abs(result.h).sum(axis=1)
    np.testing.assert_allclose(own.shares, mass / mass.sum(), rtol=1e-9)


def test_the_measure_says_what_it_is_of(fit):
    told = {model: score(fit(model)).measure for model in MODELS}
    assert told["plain"] == "‖X − WH‖ / ‖X‖"
    assert told["folded"] == told["standardized"] == "‖Y − WH‖ / ‖Y‖, Y made of X by the model"
    assert told["cut"] == "‖Y − ŷ‖ / ‖Y‖, Y made of X by the model"


def test_a_loss_that_is_not_quadratic_is_compared_with_the_sums_of_the_view(fit, monkeypatch):
    class Doubled(Viewed):
        """Y = [X, 3X], judged by Kullback–Leibler divergence."""

        takes = frozenset({"loss"})

        def view(self, x, shared):
            return Dense(np.concatenate((x.dense(), 3 * x.dense()), axis=1), x.first)

        def columns(self, names):
            return [*names, *(f"3 {name}" for name in names)]

        def start(self, initializer, sweep, probe, seed, dtype):
            h = np.ones((1, 2 * N)) + np.arange(2 * N)
            rows, _ = sweep(self.local, None, {"h": h})
            return rows, {"h": h}

        def local(self, x, rows, shared):
            y = self.view(x, shared).values
            return {"w": np.mean(y, axis=1, keepdims=True)}, {"value": 0.0}

        encode = local

    monkeypatch.delattr(Viewed, "measure")
    x = X + 0.1
    result = nmfkit.fit(x, model=Doubled, loss="kl", rank=1, max_sweeps=1)
    y = np.concatenate((x, 3 * x), axis=1)

    def kl(a):
        return float(np.sum(y * np.log(y / a) - y + a))

    plainly = np.outer(y.sum(axis=1), y.sum(axis=0)) / y.sum()
    judged = score(result, x)
    assert judged.relative_error == pytest.approx(kl(result.w @ result.h) / kl(plainly), rel=1e-9)


# --- reports ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sparse", [False, True])
def test_residuals_are_those_of_the_view(model, sparse, fit, monkeypatch):
    monkeypatch.setattr("nmfkit.report.residuals.CELLS", 50)
    x = sp.csr_array(X) if sparse else X
    result = fit(model, x)
    found = study(result, x).residuals
    y, fit_y = of_view(model, X), fitted(result, result.w)
    for axis, side in ((1, found.rows), (0, found.columns)):
        np.testing.assert_allclose(side.sums[:, 0], np.sum((y - fit_y) ** 2, axis=axis), rtol=1e-9)
        np.testing.assert_allclose(side.sums[:, 1], np.sum(y**2, axis=axis), rtol=1e-9)
        np.testing.assert_allclose(side.sums[:, 4], np.sum(fit_y, axis=axis), rtol=1e-9, atol=1e-9)
    assert found.error == pytest.approx(score(result, x).relative_error, rel=1e-9)


def test_a_sparse_view_has_the_same_residuals(fit):
    dense, sparse = fit("cut", X), nmfkit.fit(sp.csr_array(X), model="cut", rank=R, max_sweeps=2, seed=1)
    a, b = study(dense, X).residuals, study(sparse, sp.csr_array(X)).residuals
    np.testing.assert_allclose(a.rows.sums, b.rows.sums, atol=1e-9)
    np.testing.assert_allclose(a.columns.sums, b.columns.sums, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_reports_name_the_columns_of_h(model, fit, tmp_path):
    told = write_report(fit(model).path, tmp_path / "a.html")
    words = " ".join(check(tmp_path / "a.html").words)
    assert told["relative_error"] == pytest.approx(score(fit(model)).relative_error)
    assert ("f0 high" in words) == (model in ("folded", "cut"))
    assert (f"{M} × {2 * N}, made of the features by the model" in words) == (model in ("folded", "cut"))
    assert ("‖X − WH‖ / ‖X‖" in words) == (model == "plain")
    assert ("‖Y − ŷ‖ / ‖Y‖" in words) == (model == "cut")
    assert told["cautions"] == [vars(c) for c in cautions(study(fit(model)))]


@pytest.mark.parametrize("model", ["folded", "cut"])
def test_pictures_of_pixels_show_what_a_component_adds(model, fit, tmp_path):
    result = fit(model)
    found = study(result, image_shape="2,3")
    one = np.maximum(result.h, 0) if model == "cut" else result.h
    added = (one[:, :N] - one[:, N:]) * X.std(axis=0)
    np.testing.assert_allclose(found.main.pictured, added[found.main.order], atol=1e-12)
    assert found.main.signed
    write_report(result.path, tmp_path / "a.html", image_shape="2,3")
    assert "what the component adds to the data, in their units" in (tmp_path / "a.html").read_text("utf-8")
    check(tmp_path / "a.html")
    write_picture(result.path, tmp_path / "a.png", kind="components", image_shape="2,3")
    with pytest.raises(UsageError, match="neither are the pixels"):
        write_report(result.path, tmp_path / "b.html", image_shape="2,6")


def test_curves_along_an_axis_show_what_a_component_adds(fit, tmp_path):
    result = fit("folded")
    result.attributes["source"]["about"] = {"axis": {"name": "wavelength", "unit": "nm", "values": [*range(N)]}}
    write_report(result, tmp_path / "a.html")
    check(tmp_path / "a.html")
    for kind in ("components", "residuals"):
        write_picture(result, tmp_path / f"{kind}.png", kind=kind)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "levels"])
def test_every_picture_is_drawn(kind, fit, tmp_path):
    write_picture(fit("cut").path, tmp_path / "a.svg", kind=kind)
    text = (tmp_path / "a.svg").read_text("utf-8")
    assert text.startswith("<?xml")


def test_references_fit_the_columns_of_h_or_the_features(fit, tmp_path):
    result = fit("folded")
    added = (result.h[:, :N] - result.h[:, N:]) * X.std(axis=0)
    for values, names in ((result.h, MADE), (added, FEATURES)):
        main = study(result, reference=_table(tmp_path, values, names)).main
        assert [main.matches[i].name for i in range(R)] == [f"k{k}" for k in main.order]
        assert min(m.cosine for m in main.matches) == pytest.approx(1)
    with pytest.raises(UsageError, match="neither side fits the run's 6 features"):
        study(result, reference=_table(tmp_path, np.ones((2, 5)), list("abcde")))


def _table(folder, values, names):
    path = folder / "known.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["", *names])
        out.writerows([f"k{i}", *map(float, row)] for i, row in enumerate(values))
    return str(path)


# --- exports ------------------------------------------------------------------------------------------------


def test_csv_and_parquet_name_the_columns(fit, tmp_path):
    pd = pytest.importorskip("pandas")
    result = fit("folded")
    export(result.path, tmp_path / "csv", format="csv")
    h = pd.read_csv(tmp_path / "csv" / "h.csv", index_col=0, float_precision="round_trip")
    assert h.columns.tolist() == MADE
    assert np.array_equal(h.to_numpy(), result.h)
    pytest.importorskip("pyarrow")
    export(result.path, tmp_path / "parquet", format="parquet")
    h = pd.read_parquet(tmp_path / "parquet" / "h.parquet")
    assert h["feature"].tolist() == MADE
    assert np.array_equal(h.drop(columns="feature").to_numpy().T, result.h)


@pytest.mark.parametrize("model", MODELS)
def test_npz_has_the_names_of_both(model, fit, tmp_path):
    result = fit(model)
    export(result.path, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["features"].tolist() == FEATURES
        assert ("columns" in found) == (model in ("folded", "cut"))
        assert found.get("columns", found["features"]).tolist() == list(result.column_names)


def test_h5ad_keeps_h_apart_from_the_variables(fit, tmp_path):
    anndata = pytest.importorskip("anndata")
    pd = pytest.importorskip("pandas")
    result = fit("folded")
    export(result.path, tmp_path / "a.h5ad")
    given = anndata.AnnData(X, obs=pd.DataFrame(index=ROWS), var=pd.DataFrame(index=FEATURES))
    given.write_h5ad(tmp_path / "x.h5ad")
    export(result.path, tmp_path / "b.h5ad", into=tmp_path / "x.h5ad")
    for name in ("a", "b"):
        found = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
        assert found.shape == (M, N)
        assert list(found.varm) == []
        assert np.array_equal(found.obsm["X_nmf"], result.w)
        assert np.array_equal(found.uns["nmfkit"]["factors"]["h"], result.h)
        assert list(found.uns["nmfkit"]["columns"]) == MADE
    export(fit("standardized").path, tmp_path / "c.h5ad")
    assert anndata.read_h5ad(tmp_path / "c.h5ad").varm["nmf"].shape == (N, R)


# --- commands -----------------------------------------------------------------------------------------------


def test_the_commands_tell_of_the_view(fit, tmp_path, data):
    path = fit("folded").path
    text = run("inspect", path)
    assert f"{M} × {2 * N}, made of the source by the model" in text
    assert " high" in text
    found = json.loads(run("inspect", path, "--json", "--top", 2))
    assert found["factorized"] == [M, 2 * N]
    assert {entry["feature"] for row in found["components"]["h"] for entry in row} <= set(MADE)
    assert "factorized" not in json.loads(run("inspect", fit("plain").path, "--json"))
    judged = json.loads(run("score", path, "--json"))
    assert judged["relative_error"] == pytest.approx(score(path).relative_error)
    run("report", path, "-o", tmp_path / "a.html")
    run("plot", path, "-o", tmp_path / "a.png", "--kind", "components")
    run("export", path, "-o", tmp_path / "out")
    np.save(tmp_path / "new.npy", OTHER)
    run("transform", path, tmp_path / "new.npy", "-o", tmp_path / "w.zarr")
    assert json.loads(run("watch", path, "--json"))["status"] == "done"


# --- estimators ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_inverse_transform_is_in_the_units_of_x(model):
    pytest.importorskip("sklearn")
    from nmfkit.estimators import estimator

    made = estimator(model)(n_components=R, max_iter=2, tol=0, random_state=1)
    w = made.fit_transform(X)
    np.testing.assert_allclose(made.inverse_transform(w), made.result_.reconstruct(), atol=1e-12)
    np.testing.assert_allclose(made.inverse_transform(sp.csr_array(w)), made.result_.reconstruct(), atol=1e-12)
    new = made.transform(OTHER)
    np.testing.assert_allclose(made.inverse_transform(new), in_units(model, fitted(made.result_, new)), atol=1e-12)
