"""The report and the pictures: what they say is so, no name breaks them, and a browser shows all of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from pages import check, matrix
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.errors import SourceError, StoreError, UsageError
from nmfkit.report import KINDS, weights, write_picture, write_report
from nmfkit.report.cautions import cautions
from nmfkit.report.study import study
from nmfkit.sources import ArraySource

NAMES = [
    "<script>alert(1)</script>",
    "</style><b>",
    "quote \" and ' and &amp;",
    "$\\frac{1}{2}$ $x_",
    "日本語 字",
    "עברית \u202e",
    "🧬 emoji",
    "x" * 300,
    "line\nbreak\ttab",
    "nul\0bell\a",
    "\\ud800 {} %s",
    " ",
]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOOK = """<script>
addEventListener("load", () => {
const found = {
  images: [...document.images].map(i => [i.alt, i.complete ? i.naturalWidth : 0]),
  drawings: [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect().width),
  wider: document.documentElement.scrollWidth - window.innerWidth,
  scripts: document.scripts.length,
  beyond: [...document.querySelectorAll("h4, .bars li, td, th, dd")].filter(e => e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).overflowX === "visible").map(e => e.textContent.slice(0, 80)),
};
document.body.insertAdjacentHTML("beforeend", "<pre id=looked></pre>");
document.getElementById("looked").textContent = JSON.stringify(found);
});
</script>"""


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def ran(*arguments):
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done


def paint(path, **about):
    """Tell a run what its rows and features are."""
    group = zarr.open_group(str(path), mode="r+")
    group.attrs.update({"source": {**dict(group.attrs["source"]), "about": about}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def odd(folder):
    """A run with names that would break pages and pictures, a zero row and a zero column."""
    x = matrix(25, len(NAMES))
    x[3], x[:, 4] = 0, 0
    rows = [f"{NAMES[i % len(NAMES)]} {i}" for i in range(25)]
    np.savez(folder / "odd.npz", x=x, rows=rows, features=NAMES)
    (folder / "odd.txt").write_text("".join(f"{NAMES[i % 4]}\n" for i in range(25)))
    nmfkit.fit(folder / "odd.npz", key="x", rank=3, max_sweeps=30, out=folder / "odd.zarr")
    return folder / "odd.zarr"


@pytest.fixture(scope="module")
def cube(folder):
    """A run of an image of 12 × 10 pixels with a spectrum of 40 channels."""
    np.save(folder / "cube.npy", matrix(120, 40))
    nmfkit.fit(folder / "cube.npy", rank=3, max_sweeps=20, out=folder / "cube.zarr")
    axis = {"name": "wave<length>", "unit": "nm", "values": list(np.linspace(400, 900, 40))}
    paint(folder / "cube.zarr", row_image=[12, 10], axis=axis)
    return folder / "cube.zarr"


@pytest.fixture(scope="module")
def many(folder):
    """200 components of sparse data without names."""
    x = sp.random_array((260, 300), density=0.1, rng=np.random.default_rng(1), format="csr")
    sp.save_npz(folder / "many.npz", x)
    nmfkit.fit(folder / "many.npz", rank=200, loss="kl", max_sweeps=3, out=folder / "many.zarr")
    return folder / "many.zarr"


@pytest.fixture(scope="module")
def deep(folder):
    """Three levels of data with the same odd names."""
    np.savez(folder / "deep.npz", x=matrix(40, len(NAMES), rank=5), features=NAMES)
    options = {"model": "deep-nmf", "loss": "kl", "ranks": (8, 4, 2), "max_sweeps": 20}
    nmfkit.fit(folder / "deep.npz", key="x", out=folder / "deep.zarr", **options)
    return folder / "deep.zarr"


# --- the page as a document ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd_page(odd, folder):
    write_report(odd, folder / "odd.html", labels=str(folder / "odd.txt"))
    return folder / "odd.html"


def test_names_are_text_and_nothing_else(odd_page):
    words = "".join(check(odd_page).words)
    for name in (
        "<script>alert(1)</script>",
        "</style><b>",
        "quote \" and ' and &amp;",
        "$\\frac{1}{2}$ $x_",
        "日本語 字",
    ):
        assert name in words
    assert "line break tab" in words
    assert "nul\N{REPLACEMENT CHARACTER}bell" in words
    assert "\u202e" not in words


def test_two_reports_of_one_run_are_the_same(odd, odd_page, folder, tmp_path):
    write_report(odd, tmp_path / "a.html", labels=str(folder / "odd.txt"))
    assert (tmp_path / "a.html").read_bytes() == odd_page.read_bytes()


def test_maps_and_spectra(cube, folder):
    write_report(cube, folder / "cube.html")
    page = check(folder / "cube.html")
    assert sum(link.startswith("data:image/png") for link in page.links) >= 3
    words = "".join(page.words)
    assert "900 nm" in words
    assert "peak" in words


def test_200_components_on_one_page(many, folder):
    write_report(many, folder / "many.html")
    page = check(folder / "many.html")
    assert "140 more components" in "".join(page.words)
    assert (folder / "many.html").stat().st_size < 4_000_000


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("name", ["odd", "cube", "many", "deep"])
def test_a_browser_shows_it(name, request, folder, tmp_path):
    request.getfixturevalue(name)
    made = folder / f"{name}.html"
    if not made.exists():
        write_report(folder / f"{name}.zarr", made)
    looked = tmp_path / "looked.html"
    looked.write_text(made.read_text("utf-8").replace("</body>", f"{LOOK}</body>"), "utf-8")
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1280,900", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom",
        looked.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    text = re.search(r'<pre id="looked">(.*?)</pre>', done.stdout, re.DOTALL)[1]
    found = json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["images"]
    assert [alt for alt, width in found["images"] if width == 0] == []
    assert all(width >= 0 for width in found["drawings"])
    assert found["wider"] <= 0
    assert found["scripts"] == 1
    assert found["beyond"] == []


# --- what it says -------------------------------------------------------------------------------------------


def test_what_the_page_says_is_what_the_run_holds(odd, folder):
    result = nmfkit.load(odd)
    x = np.load(folder / "odd.npz")["x"]
    found = study(odd)
    w, h = result.w, result.h
    error = np.linalg.norm(x - w @ h) / np.linalg.norm(x)
    assert found.residuals.error == pytest.approx(error, rel=1e-10)
    shares = w.sum(axis=0) * h.sum(axis=1) / (w @ h).sum()
    np.testing.assert_allclose(found.main.shares, np.sort(shares)[::-1])
    np.testing.assert_array_equal(found.main.order, np.argsort(-shares, kind="stable"))
    np.testing.assert_array_equal(found.main.v, h[found.main.order])
    assert found.residuals.rows.zero == found.residuals.columns.zero == 1
    kinds = [c.kind for c in cautions(found)]
    assert {"not-converged", "zero-rows", "zero-columns"} <= set(kinds)


def test_rows_are_sampled_and_summed_in_windows(odd, monkeypatch, tmp_path):
    whole = study(odd).main
    monkeypatch.setattr(weights, "WINDOW", 8 * 3 * 4)
    monkeypatch.setattr(weights, "SAMPLE", 10)
    part = study(odd).main
    for name in ("sums", "squares", "leads"):
        np.testing.assert_allclose(getattr(part.weights, name), getattr(whole.weights, name))
    assert part.weights.dead == whole.weights.dead
    assert 0 < len(part.weights.numbers) < 20
    np.testing.assert_array_equal(part.weights.sample, whole.weights.sample[part.weights.numbers])
    made = tmp_path / "part.html"
    write_report(odd, made)
    assert f"{len(part.weights.numbers)} of 25 samples" in made.read_text("utf-8")


def test_maps_are_the_rows_in_their_order(cube):
    found = study(cube).main
    w = nmfkit.load(cube).w[:, found.order]
    np.testing.assert_array_equal(found.weights.maps, w.reshape(12, 10, 3))


def test_a_run_whose_data_are_gone_is_shown_without_residuals(tmp_path):
    np.save(tmp_path / "x.npy", matrix(20, 9))
    nmfkit.fit(tmp_path / "x.npy", rank=2, max_sweeps=3, out=tmp_path / "a.zarr")
    (tmp_path / "x.npy").rename(tmp_path / "y.npy")
    done = ran("report", tmp_path / "a.zarr", "-o", tmp_path / "a.html")
    assert "No residuals are shown" in done.stdout
    assert "x.npy does not exist" in "".join(check(tmp_path / "a.html").words)
    done = ran("report", tmp_path / "a.zarr", tmp_path / "y.npy", "-o", tmp_path / "b.html")
    assert "No residuals" not in done.stdout
    failed = run("plot", tmp_path / "a.zarr", "-o", tmp_path / "r.png", "--kind", "residuals")
    assert failed.exit_code == 1
    assert "residuals need the data" in failed.stderr
    failed = run("report", tmp_path / "a.zarr", tmp_path / "z.npy", "-o", tmp_path / "c.html")
    assert (failed.exit_code, (tmp_path / "c.html").exists()) == (1, False)


def test_a_result_in_memory_with_its_data(tmp_path):
    x = matrix(30, 9)
    result = nmfkit.fit(x, rank=2, max_sweeps=3)
    told = write_report(result, tmp_path / "a.html", x)
    assert told["relative_error"] == pytest.approx(np.linalg.norm(x - result.w @ result.h) / np.linalg.norm(x))
    assert write_report(result, tmp_path / "b.html")["relative_error"] is None
    with pytest.raises(StoreError, match="not those"):
        write_report(result, tmp_path / "c.html", x + 1)


def test_json_tells_what_was_found(odd, folder, tmp_path):
    done = ran("report", odd, "-o", tmp_path / "a.html", "--labels", folder / "odd.txt", "--json")
    told = json.loads(done.stdout)
    assert [c["number"] for c in told["components"]] == [1, 2, 3]
    assert sum(c["share"] for c in told["components"]) == pytest.approx(1)
    assert set(told["labels"]) == {"accuracy", "nmi", "purity", "adjusted_rand"}
    assert told["bytes"] == (tmp_path / "a.html").stat().st_size


# --- single pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "levels"])
def test_each_picture_of_odd_names(kind, odd, folder, tmp_path):
    out = tmp_path / "a.svg"
    write_picture(odd, out, kind=kind, labels=str(folder / "odd.txt"))
    drawn = ElementTree.parse(out).getroot()
    assert drawn.tag.endswith("svg")


@pytest.mark.parametrize(("name", "kind"), [("cube", "components"), ("many", "components")])
def test_pictures_of_all_forms(name, kind, request, tmp_path):
    run_ = request.getfixturevalue(name)
    ran("plot", run_, "-o", tmp_path / "a.png", "--kind", kind)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_as_pdf(odd, tmp_path):
    ran("plot", odd, "-o", tmp_path / "a.pdf", "--kind", "similarity")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_drawing_changes_no_settings_of_matplotlib(odd, tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    write_picture(odd, tmp_path / "a.png", kind="convergence")
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize("rank", [1, 2])
def test_few_components_and_rows(rank, tmp_path):
    np.save(tmp_path / "x.npy", matrix(2, 3))
    nmfkit.fit(tmp_path / "x.npy", rank=rank, max_sweeps=1, out=tmp_path / "a.zarr")
    write_report(tmp_path / "a.zarr", tmp_path / "a.html")
    check(tmp_path / "a.html")


# --- refusals -----------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_told_at_once_and_nothing_is_written(odd, tmp_path):
    (tmp_path / "few.txt").write_text("a\nb\n")
    out = tmp_path / "a.html"
    done = run(
        "report", odd, "-o", out, "--labels", tmp_path / "few.txt", "--image-shape", "5,7",
        "--reference", tmp_path / "none.csv",
    )  # fmt: skip
    assert done.exit_code == 2
    assert "holds 2 labels and the run has 25 rows" in done.stderr
    assert "neither are the pixels of such an image" in done.stderr
    assert "none.csv does not exist" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("text", ["8", "8,", "a,b", "0,64", "-8,8", "8,8,1", ""])
def test_image_shapes_that_are_none(text, odd, tmp_path):
    with pytest.raises(UsageError, match="is not H,W"):
        write_report(odd, tmp_path / "a.html", image_shape=text)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_pictures_of_ours_are_known(odd, tmp_path, kind):
    out = tmp_path / f"a.{kind}"
    for overwrite in (False, True):
        write_picture(odd, out, kind="convergence", overwrite=overwrite)
    out.write_bytes(b"a picture of nmfkit")
    with pytest.raises(StoreError, match="no output of nmfkit"):
        write_picture(odd, out, kind="convergence", overwrite=True)


def test_files_of_others_stay(odd, odd_page, folder, tmp_path):
    out = tmp_path / "a.html"
    out.write_text("<p>mine, on nmfkit</p>")
    with pytest.raises(StoreError, match="pass --overwrite"):
        write_report(odd, out)
    with pytest.raises(StoreError, match="no output of nmfkit"):
        write_report(odd, out, overwrite=True)
    assert out.read_text() == "<p>mine, on nmfkit</p>"
    shutil.copy(folder / "odd.html", out)
    write_report(odd, out, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html"]
    with pytest.raises(StoreError, match="lies inside the zarr store"):
        write_report(odd, odd / "a.html")


@pytest.mark.parametrize("out", ["a", "a.txt", "a.jpg"])
def test_other_kinds_of_file_are_refused(out, odd, tmp_path):
    with pytest.raises(UsageError, match="does not end in"):
        write_picture(odd, tmp_path / out, kind="convergence")


@pytest.mark.parametrize(("kind", "suffix"), [("convergence", "png"), ("similarity", "svg"), ("components", "pdf")])
def test_every_picture_of_ours_may_be_replaced(kind, suffix, odd, tmp_path):
    for _ in range(2):
        write_picture(odd, tmp_path / f"a.{suffix}", kind=kind, overwrite=True)


def test_an_unknown_kind(odd, tmp_path):
    done = run("plot", odd, "-o", tmp_path / "a.png", "--kind", "convergense")
    assert done.exit_code == 2
    assert "did you mean 'convergence'" in done.stderr


def test_without_matplotlib_the_way_to_it_is_told(odd, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r'pip install "nmfkit\[plot\]"'):
        write_report(odd, tmp_path / "a.html")


def test_a_store_that_is_no_run(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        write_report(tmp_path / "none.zarr", tmp_path / "a.html")


def test_data_that_are_no_matrix(odd, tmp_path):
    with pytest.raises(SourceError):
        write_report(odd, tmp_path / "a.html", str(tmp_path / "none.npy"))


# --- real data ----------------------------------------------------------------------------------------------


def test_signatures_are_matched_to_known_ones(data_dir, tmp_path):
    biology = data_dir / "biology"
    fits = (nmfkit.fit(biology / "counts_21breast.csv", loss="kl", rank=4, seed=s, max_sweeps=1000) for s in range(3))
    best = min(fits, key=lambda fit: fit.objective)
    best.save(tmp_path / "run.zarr")
    told = write_report(tmp_path / "run.zarr", tmp_path / "a.html", reference=str(biology / "cosmic_signatures_v2.csv"))
    matched = {c["matched"]: c["cosine"] for c in told["components"]}
    assert len(matched) == 4
    assert matched["Signature 2"] > 0.85
    assert "Signature 2" in "".join(check(tmp_path / "a.html").words)


def test_source_names_come_along(tmp_path):
    x = ArraySource(matrix(6, 4), uri="memory", feature_names=("a", "b", "c", "d"))
    found = study(nmfkit.fit(x, rank=2, max_sweeps=2))
    assert found.feature(2) == "c"
    assert found.row(3) == "row 3"
