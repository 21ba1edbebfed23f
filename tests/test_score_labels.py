"""`score --labels` reads known classes of any form, brings them into the order of the rows, and compares."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest
from positive import X
from scipy.io import savemat
from typer.testing import CliRunner

import nmfkit
from nmfkit.cli.app import app
from nmfkit.clustering import agreement, classes_of
from nmfkit.clustering.agreement import Agreement
from nmfkit.errors import NmfkitError, SourceError, UsageError
from nmfkit.score import score

NAMES = [f"n{i}" for i in range(len(X))]
CLASSES = np.arange(len(X)) % 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score-labels")
    lines = [",".join(["", *(f"f{j}" for j in range(X.shape[1]))])]
    lines += [",".join([name, *map(repr, row.tolist())]) for name, row in zip(NAMES, X, strict=True)]
    (folder / "x.csv").write_text("\n".join(lines) + "\n")
    nmfkit.fit(folder / "x.csv", rank=3, max_sweeps=5, tol=0, out=folder / "run.zarr")
    return nmfkit.load(folder / "run.zarr")


def expected(run, classes=CLASSES):
    return agreement(run.labels, classes)


def measures(found: Agreement):
    return {name: value for name, value in found.as_dict().items() if name != "notes"}


@pytest.mark.parametrize("given", [CLASSES, CLASSES.tolist(), [f"c{c}" for c in CLASSES]], ids=type)
def test_classes_in_memory(run, given):
    found = score(run, labels=given)
    assert found.clustering == expected(run)
    assert score(run).clustering is None
    assert found.loss == score(run).loss


def files(folder):
    """Every form of the same classes; those with names have them in another order, and one row more."""
    order = np.random.default_rng(0).permutation(len(X))
    pairs = [(NAMES[i], f"class {CLASSES[i]}") for i in order] + [("elsewhere", "class 9")]
    forms = {
        "lines.txt": "\n".join(f"c{c}" for c in CLASSES),
        "blanks.txt": "\n".join(f"{name} {text.replace(' ', '_')}" for name, text in pairs),
        "tabs.labels": "\n".join(f"{name}\t{text[-1]}" for name, text in pairs),
        "named.csv": "\n".join(["node,class", *(f"{name},{text}" for name, text in pairs)]),
        "bare.csv": "\n".join(f"{name},{text}" for name, text in pairs),
        "wide.tsv": "\n".join(["node\tweight\tclass", *(f"{name}\t1.5\t{text}" for name, text in pairs)]),
    }
    for name, text in forms.items():
        (folder / name).write_text(text + "\n")
    np.save(folder / "a.npy", CLASSES)
    np.savez(folder / "a.npz", y=CLASSES, other=np.ones((2, 2)))
    savemat(folder / "a.mat", {"labels": CLASSES[None].astype(float), "y": CLASSES[:, None], "x": X})
    return [*forms, "a.npy", "a.npz:y", "a.mat", "a.mat:y"]


def test_every_form_of_a_file(run, tmp_path):
    for name in files(tmp_path):
        asked = f"{name}:class" if name == "wide.tsv" else name
        known = classes_of(str(tmp_path / asked), len(X), run.row_names)
        assert measures(agreement(run.labels, known)) == measures(expected(run)), name


def test_rows_without_a_label_are_left_out_and_counted(run, tmp_path):
    (tmp_path / "some.txt").write_text("\n".join(f"{NAMES[i]} c{CLASSES[i]}" for i in range(60)))
    found = score(run, labels=tmp_path / "some.txt").clustering
    assert measures(found) == measures(expected(run, np.where(np.arange(len(X)) < 60, CLASSES, -1)))
    assert (found.compared, found.unlabelled) == (60, len(X) - 60)
    assert any(f"{len(X) - 60} of {len(X)} rows are not in some.txt" in note for note in found.notes)


def test_other_data_are_grouped_by_their_fitted_rows(run):
    some = X[10:40]
    fitted = run.transform(some, max_sweeps=200, tol=1e-5)
    wanted = agreement(np.argmax(fitted, axis=1), CLASSES[10:40])
    assert score(run, some, labels=CLASSES[10:40]).clustering == wanted
    with pytest.raises(UsageError, match="there are 90 labels and 30 rows"):
        score(run, some, labels=CLASSES)


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("short.txt", "a\nb\n", UsageError, "short.txt holds 2 labels and the run has 90 rows"),
        ("strange.txt", "x1 a\nx2 b\n", UsageError, "none of its names is one of the run; it has 'x1', 'x2', the run"),
        ("strange.csv", "x1,a\nx2,b\n", UsageError, "several columns; choose one, as strange.csv:column 2"),
        (
            "twice.csv",
            "node,c\n" + "".join(f"{n},a\n" for n in [*NAMES, "n3"]),
            UsageError,
            "'n3' stand in several lines",
        ),
        ("none.npy", "", SourceError, "none.npy cannot be read"),
        ("none.mat", "MATLAB", SourceError, "none.mat cannot be read.*choose a variable"),
        ("missing.txt", None, SourceError, "missing.txt does not exist"),
    ],
)
def test_files_that_do_not_fit(run, tmp_path, name, content, error, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=said):
        score(run, labels=str(tmp_path / name))


def test_a_variable_that_is_no_vector(run, tmp_path):
    files(tmp_path)
    with pytest.raises(UsageError, match=r"array of shape \(90, 24\); labels are a vector"):
        score(run, labels=str(tmp_path / "a.mat:x"))
    with pytest.raises(SourceError, match=r"a\.mat:NAME"):
        score(run, labels=str(tmp_path / "a.mat:none"))


def test_names_need_names(tmp_path):
    (tmp_path / "named.txt").write_text("".join(f"n{i} c{i % 2}\n" for i in range(9)))
    with pytest.raises(NmfkitError, match=r"names its rows .*, and the rows of the run have no names"):
        classes_of(str(tmp_path / "named.txt"), 9, None)


def test_the_command(run, tmp_path):
    files(tmp_path)
    labels = str(tmp_path / "blanks.txt")
    told = CliRunner().invoke(app, ["score", run.path, "--labels", labels])
    assert told.exit_code == 0, told.output
    wanted = expected(run)
    found = dict(re.findall(r"^  (accuracy|NMI|adjusted Rand|purity) +(\S+)$", told.stdout, re.MULTILINE))
    assert found == {
        "accuracy": f"{wanted.accuracy:.4f}",
        "NMI": f"{wanted.nmi:.4f}",
        "adjusted Rand": f"{wanted.ari:.4f}",
        "purity": f"{wanted.purity:.4f}",
    }
    assert re.search(r"^  compared +90 rows$", told.stdout, re.MULTILINE)
    plain = json.loads(CliRunner().invoke(app, ["score", run.path, "--labels", labels, "--json"]).stdout)
    assert {k: v for k, v in plain["clustering"].items() if k != "notes"} == pytest.approx(measures(wanted))
    without = json.loads(CliRunner().invoke(app, ["score", run.path, "--json"]).stdout)
    assert without["clustering"] is None


def test_departments_of_a_mail_network(data_dir, tmp_path):
    """Nodes are numbered, and stand in the order of their edges, not of the labels."""
    graph = tmp_path / "mail.edges"
    graph.write_bytes(gzip.decompress((data_dir / "graphs" / "email-Eu-core.txt.gz").read_bytes()))
    source = nmfkit.open_source(graph)
    path = data_dir / "graphs" / "email-Eu-core-department-labels.txt"
    known = classes_of(path, source.shape[0], source.row_names)
    wanted = dict(line.split() for line in path.read_text().splitlines())
    assert [known.names[c] for c in known.codes] == [wanted[name] for name in source.row_names]
    assert len(known.names) == 42


def test_objects_of_a_matrix(data_dir):
    known = classes_of(f"{data_dir / 'graphs' / 'symnmf_ACOIL20.mat'}:labels", 1440)
    assert np.bincount(known.codes).tolist() == [72] * 20
