"""Graphs become their matrix of weights: symmetric or directed, with the nodes as names of rows and columns."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nmfkit_plugins.graphs import edges

from nmfkit.errors import Caution, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.testing import SourceContract

LINES = "# a comment\na b 2\nb c 0.5\n\nc c 3\na d 1\n"


def whole(source):
    return source.read(0, source.shape[0]).dense()


def put(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


class TestEdges(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = put(tmp_path / "g.edges", LINES)

    def make(self):
        return edges.read(str(self.path))


@pytest.mark.parametrize("name", ["g.edges", "g.edgelist", "g.edges.gz", "g.edgelist.gz"])
def test_a_list_of_edges(tmp_path, name):
    source = open_source(put(tmp_path / name, LINES))
    a = np.array([[0, 2, 0, 1], [2, 0, 0.5, 0], [0, 0.5, 3, 0], [1, 0, 0, 0]])
    assert source.is_sparse
    assert source.row_names == source.feature_names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(whole(source), a)
    directed = open_source(f"edges,directed=true:{tmp_path / name}")
    np.testing.assert_array_equal(whole(directed), np.triu(a))
    with pytest.raises(UsageError, match="single matrix"):
        open_source(tmp_path / name, key="a")


@pytest.mark.parametrize("delimiter", [" ", "\t", "   ", ",", ", ", ";"])
@pytest.mark.parametrize("head", ["", "source{}target{}weight\n", "% bip weighted\n", "Node_1{}Node_2{}w\n", "\ufeff"])
def test_any_usual_form(tmp_path, delimiter, head):
    text = head.format(delimiter, delimiter) + "".join(f"{delimiter.join(e)}\r\n" for e in ("122", "235"))
    source = open_source(f"edges:{put(tmp_path / 'g.txt', text)}")
    assert source.row_names == ("1", "2", "3")
    np.testing.assert_array_equal(whole(source), [[0, 2, 0], [2, 0, 5], [0, 5, 0]])


def test_nodes_that_are_numbers_stand_by_value_others_as_they_come(tmp_path):
    assert open_source(put(tmp_path / "n.edges", "10 9\n9 2\n")).row_names == ("2", "9", "10")
    assert open_source(put(tmp_path / "t.edges", "z 9\n9 a\n")).row_names == ("z", "9", "a")


def test_what_networkx_writes(tmp_path):
    graph = nx.les_miserables_graph()
    nx.write_weighted_edgelist(graph, tmp_path / "g.edges", delimiter="\t")
    source = open_source(tmp_path / "g.edges")
    np.testing.assert_array_equal(whole(source), nx.to_numpy_array(graph, nodelist=source.row_names))
    plain = nx.karate_club_graph()
    nx.write_edgelist(plain, tmp_path / "k.edges", data=False)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "k.edges")), nx.to_numpy_array(plain, weight=None))
    nx.write_edgelist(nx.path_graph(3), tmp_path / "p.edges")  # an empty {} behind each edge
    assert whole(open_source(tmp_path / "p.edges")).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=20)


@given(pairs)
def test_weights_of_repeated_edges_add_up_and_without_weights_they_count_once(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("g")
    put(folder / "w.edges", "".join(f"{u} {v} {w}\n" for u, v, w in drawn))
    put(folder / "u.edges", "".join(f"{u} {v}\n" for u, v, _ in drawn))
    nodes = sorted({node for u, v, _ in drawn for node in (u, v)})
    weights = np.zeros((len(nodes), len(nodes)))
    for u, v, w in drawn:
        weights[nodes.index(u), nodes.index(v)] += w
    both = weights + weights.T - np.diag(np.diag(weights))
    repeated = len(drawn) - np.count_nonzero(np.triu(both))
    if repeated:
        with pytest.warns(Caution, match=rf"w\.edges: weights of repeated edges add up \({repeated} of {len(drawn)} "):
            source = open_source(folder / "w.edges")
    else:
        source = open_source(folder / "w.edges")
    np.testing.assert_array_equal(whole(source), both)
    np.testing.assert_array_equal(whole(open_source(folder / "u.edges")), both > 0)
    directed = open_source(f"edges,directed=true:{folder / 'u.edges'}")
    np.testing.assert_array_equal(whole(directed), weights > 0)


def test_weights_are_those_of_the_column_that_is_named(tmp_path):
    path = put(tmp_path / "g.txt", "a b 2 1577836800\n")
    with pytest.raises(SourceError, match=r"line 1: 4 columns; name that of the weights: edges,weight=3:FILE"):
        open_source(f"edges:{path}")
    assert whole(open_source(f"edges,weight=3:{path}"))[0, 1] == 2
    assert whole(open_source(f"edges,weight=4:{path}"))[0, 1] == 1577836800
    assert whole(open_source(f"edges,weight=none:{path}"))[0, 1] == 1
    with pytest.raises(UsageError, match="weight=2 is none of auto, none and the number of a column from 3 on"):
        open_source(f"edges,weight=2:{path}")
    with pytest.raises(SourceError, match="no column 5 of weights"):
        open_source(f"edges,weight=5:{path}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no edges"),
        ("# nothing\n\n", "holds no edges"),
        ("source,target\n", "holds no edges"),
        ("a\n", "line 1: an edge has two nodes, this line has 1"),
        ("a b\na b c\n", "line 2: 3 cells where lines above have 2"),
        ("a b 1\na c much\n", "line 2, column 3: 'much' is not a number"),
        ("a b {'weight': 3}\n", r"line 1: 4 columns"),
        (",a\n", "line 1: an edge has two nodes"),
    ],
)
def test_what_is_no_list_of_edges(tmp_path, text, words):
    path = put(tmp_path / "g.edges", text)
    with pytest.raises(SourceError, match=words) as told:
        open_source(path)
    assert "g.edges" in str(told.value)


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"a b\n" * 1000)[:-9], gzip.compress(b"a \xff\n")],
    ids=["not gzip", "cut off", "no text"],  # the bytes hold the time, which is another one in each process
)
def test_damage_is_told(tmp_path, content):
    (tmp_path / "g.edges.gz").write_bytes(content)
    with pytest.raises(SourceError, match=r"g\.edges\.gz"):
        open_source(tmp_path / "g.edges.gz")


def test_a_byte_that_is_no_text_is_named(tmp_path):
    (tmp_path / "g.edges").write_bytes(b"a b\nc \xe9\n")
    with pytest.raises(SourceError, match=r"g\.edges, line 2: byte 2 \(0xe9\) is not utf-8"):
        open_source(tmp_path / "g.edges")


# --- GML ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_gml_of_networkx(tmp_path, weighted):
    graph = nx.les_miserables_graph()
    if not weighted:
        for *_, data in graph.edges(data=True):
            data.clear()
    nx.write_gml(graph, tmp_path / "g.gml")
    source = open_source(tmp_path / "g.gml")
    np.testing.assert_array_equal(whole(source), nx.to_numpy_array(graph))
    assert source.row_names == source.feature_names == tuple(graph)


def test_gml_with_directions_repeats_and_names_beyond_ascii(tmp_path):
    nodes = "".join(f'node [ id {i} label "{name}" ]\n' for i, name in enumerate(("Åse", "b", "c")))
    text = f"graph\n[\n directed 1\n{nodes}edge [ source 0 target 1 ]\nedge [ source 0 target 1 ]\n]\n"
    (tmp_path / "g.gml").write_text(text, "utf-8")
    source = open_source(f"gml,directed=true:{tmp_path / 'g.gml'}")
    assert source.row_names == ("Åse", "b", "c")
    np.testing.assert_array_equal(whole(source), [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(whole(open_source(tmp_path / "g.gml")), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    (tmp_path / "g.gml").write_text(text, "latin-1")
    assert open_source(tmp_path / "g.gml").row_names[0] == "Åse"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "graph [",
        "nonsense",
        "graph [ node [ id 0 ] edge [ source 0 target 9 ] ]",
        "graph [ node [ id 0 ] edge [ source 0 ] ]",
        "graph " + "[ a " * 5000,
        'graph [ node [ id 0 ] edge [ source 0 target 0 weight "x" ] ]',
        "graph [ ]",
    ],
)
def test_what_is_no_gml(tmp_path, text):
    (tmp_path / "g.gml").write_text(text)
    with pytest.raises(SourceError, match=r"g\.gml"):
        open_source(tmp_path / "g.gml")


def test_gml_is_never_evaluated(tmp_path):
    (tmp_path / "g.gml").write_text(
        "graph [ node [ id 0 label \"__import__('os').getcwd()\" ] edge [ source 0 target 0 ] ]"
    )
    assert open_source(tmp_path / "g.gml").row_names == ("__import__('os').getcwd()",)


def test_without_networkx_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "g.gml").write_text("graph [ ]")
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(SourceError, match=r"pip install 'nmfkit\[graphs\]'"):
        open_source(tmp_path / "g.gml")


# --- real graphs --------------------------------------------------------------------------------------------


def test_real_graphs(data_dir):
    mail = open_source(f"edges,directed=true:{data_dir / 'graphs/email-Eu-core.txt.gz'}")
    assert (mail.shape, mail.nnz) == ((1005, 1005), 25_571)
    assert mail.row_names[:3] == ("0", "1", "2")
    both = whole(open_source(f"edges:{data_dir / 'graphs/email-Eu-core.txt.gz'}"))
    np.testing.assert_array_equal(both, np.maximum(whole(mail), whole(mail).T))
    football = open_source(data_dir / "graphs/football.gml")
    assert (football.shape, football.nnz) == ((115, 115), 2 * 613)
    assert football.feature_names[0] == "BrighamYoung"


@pytest.mark.parametrize("family", ["cells", "graphs", "tables", "text"])
def test_listing_readers_imports_nothing_heavy(family):
    code = f"import sys, nmfkit_plugins.{family} as f; f.nmfkit_readers();"
    code += "print([m for m in ('numpy', 'pyarrow', 'h5py', 'networkx', 'sklearn') if m in sys.modules])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_texts_above_numbers_name_the_columns(tmp_path):
    path = put(tmp_path / "g.edges", "member_a,member_b\n1,2\n2,3\n")
    with pytest.warns(Caution, match=r"g\.edges: the first line is read as names of columns: member_a, member_b"):
        assert open_source(path).row_names == ("1", "2", "3")


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("a;b,c;2\nb,c;d;1\n", ("a", "b,c", "d")),
        ('a,"b, 4"\n"b, 4",c\n', ("a", "b, 4", "c")),
    ],
)
def test_cells_may_hold_what_parts_other_tables(tmp_path, text, nodes):
    assert edges.read(str(put(tmp_path / "g.edges", text))).row_names == nodes


def test_decimal_commas_are_refused_not_taken_for_nodes(tmp_path):
    with pytest.raises(SourceError, match="line 1, column 3: '0,5' is not a number"):
        edges.read(str(put(tmp_path / "g.edges", "a;b;0,5\nb;c;0,7\n")))
