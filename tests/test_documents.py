"""Texts become counts of words, as scikit-learn counts them, with the words as names of the columns."""

from __future__ import annotations

import gzip
import os
import sys

import numpy as np
import pytest
from nmfkit_plugins.text import documents, ldac

from nmfkit.errors import SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.testing import SourceContract

text_module = pytest.importorskip("sklearn.feature_extraction.text")

TEXTS = {
    "a.txt": "The cat sat on the mat, and the dog did not.",
    "b/a.txt": "A dog and a cat: naïve dogs.",
    "b/c.md": "",
    "z": "mat mat mat",
}


def whole(source):
    return source.read(0, source.shape[0]).dense()


def folder(path):
    for name, text in TEXTS.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, "utf-8")
    return path


def lines(path, text=None):
    text = "\n".join(TEXTS.values()) if text is None else text
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def counted(**options):
    """What scikit-learn gives, and its words."""
    vectorizer = text_module.CountVectorizer(**options)
    return vectorizer.fit_transform(TEXTS.values()).toarray(), tuple(vectorizer.get_feature_names_out())


class TestDocuments(SourceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = folder(tmp_path / "texts")

    def make(self):
        return documents.read(str(self.path))


OPTIONS = [
    ("", {}),
    (",min_df=2", {"min_df": 2}),
    (",min_df=0.5,max_df=0.9", {"min_df": 0.5, "max_df": 0.9}),
    (",stop_words=english", {"stop_words": "english"}),
    (",ngram=2", {"ngram_range": (1, 2)}),
    (",ngram=2-3,max_features=4", {"ngram_range": (2, 3), "max_features": 4}),
]


@pytest.mark.parametrize(("options", "meant"), OPTIONS)
def test_a_folder_counts_as_scikit_learn_does(tmp_path, options, meant):
    source = open_source(f"documents{options}:{folder(tmp_path / 'texts')}")
    x, words = counted(**meant)
    assert source.is_sparse
    assert source.feature_names == words
    assert source.row_names == ("a.txt", "b/a.txt", "b/c.md", "z")
    np.testing.assert_array_equal(whole(source), x)


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz", "x"])
@pytest.mark.parametrize(("options", "meant"), OPTIONS)
def test_a_document_a_line(tmp_path, name, options, meant):
    source = open_source(f"documents{options}:{lines(tmp_path / name)}")
    x, words = counted(**meant)
    assert (source.row_names, source.feature_names) == (None, words)
    np.testing.assert_array_equal(whole(source), x)  # a blank line is a document without words


def test_tfidf(tmp_path):
    source = open_source(f"documents,tfidf=true:{lines(tmp_path / 'x.txt')}")
    x = text_module.TfidfVectorizer().fit_transform(TEXTS.values()).toarray()
    np.testing.assert_allclose(whole(source), x, rtol=1e-12)


def test_documents_in_a_column(tmp_path):
    rows = [f"{i}\t{text}\tlabel" for i, text in enumerate(TEXTS.values())]
    plain = lines(tmp_path / "x.tsv", "\n".join(rows))
    named = lines(tmp_path / "y.tsv.gz", "\n".join(["id\tbody\tclass", *rows]))
    quoted = lines(tmp_path / "z.csv", 'body\n"one, two"\nthree\n')
    for text in (f"documents,column=2:{plain}", f"documents,column=body:{named}"):
        np.testing.assert_array_equal(whole(open_source(text)), counted()[0])
    assert open_source(f"documents,column=body:{quoted}").feature_names == ("one", "three", "two")
    with pytest.raises(UsageError, match=r"x\.tsv has 3 columns; name that of the documents.*column=1:FILE"):
        open_source(f"documents:{plain}")
    with pytest.raises(UsageError, match="no column 'zz'; its first line has 3: id, body, class"):
        open_source(f"documents,column=zz:{named}")
    short = lines(tmp_path / "w.tsv", "a\tbb\nc\n")
    with pytest.raises(SourceError, match=r"w\.tsv, line 2: 1 cells where the first line has 2"):
        open_source(f"documents,column=2:{short}")


def test_files_of_a_suffix_and_of_an_encoding(tmp_path):
    texts = folder(tmp_path / "texts")
    (texts / ".hidden").write_bytes(b"\xff")
    (texts / ".git").mkdir()
    (texts / ".git/x").write_text("secret")
    source = open_source(f"documents,suffix=.txt:{texts}")
    assert source.row_names == ("a.txt", "b/a.txt")
    (texts / "b/a.txt").write_text("café", "latin-1")
    assert "café" in open_source(f"documents,encoding=latin-1:{texts}").feature_names
    with pytest.raises(SourceError, match=r"b/a\.txt: byte 3 \(0xe9\) is not utf-8"):
        open_source(f"documents:{texts}")
    with pytest.raises(SourceError, match=r"holds no files that end in \.doc"):
        open_source(f"documents,suffix=.doc:{texts}")
    latin = tmp_path / "l.txt"
    latin.write_bytes("ab\ncafé".encode("latin-1"))
    with pytest.raises(SourceError, match=r"l\.txt, line 2: byte 3 \(0xe9\) is not utf-8"):
        open_source(f"documents:{latin}")


def test_links_that_leave_the_folder_are_refused(tmp_path):
    texts = folder(tmp_path / "texts")
    (texts / "same.txt").symlink_to(texts / "a.txt")
    (texts / "inner").symlink_to(texts / "b")
    assert open_source(f"documents:{texts}").row_names == ("a.txt", "b/a.txt", "b/c.md", "same.txt", "z")
    secret = folder(tmp_path / "other")
    for name, target in (("out.txt", secret / "a.txt"), ("deep", secret), ("up.txt", "../../other/a.txt")):
        (texts / "b" / name).symlink_to(target)
        with pytest.raises(SourceError, match=rf"b/{name} is a link that leads out of .*texts"):
            open_source(f"documents:{texts}")
        (texts / "b" / name).unlink()
    (texts / "gone.txt").symlink_to(texts / "nowhere")
    with pytest.raises(SourceError, match=r"gone\.txt is no file that can be read"):
        open_source(f"documents:{texts}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("min_df=x", "min_df=x is neither a number of documents"),
        ("max_df=-1", "max_df=-1 is neither"),
        ("max_df=1.5", "max_df=1.5 is neither"),
        ("stop_words=french", "stop_words=french is none of english, none"),
        ("ngram=0", "ngram=0 is no length"),
        ("ngram=3-2", "ngram=3-2 is no length"),
        ("encoding=klingon", "encoding=klingon is not known"),
        ("max_features=0", "max_features"),
        ("tfidf=perhaps", "tfidf"),
        ("zz=1", "unknown parameter 'zz'"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        open_source(f"documents,{options}:{lines(tmp_path / 'x.txt')}")


def test_texts_without_words(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="none holds no files"):
        open_source(f"documents:{tmp_path / 'none'}")
    for text in ("", "\n\n", "a b c", "!!"):
        with pytest.raises(SourceError, match=r"x\.txt: no words are left to count"):
            open_source(f"documents:{lines(tmp_path / 'x.txt', text)}")
    rare = lines(tmp_path / "x.txt", "one two\nthree")
    with pytest.raises(SourceError, match=r"x\.txt: no words are left to count: .*min_df"):
        open_source(f"documents,min_df=4:{rare}")
    with pytest.raises(UsageError, match="single matrix"):
        open_source(f"documents:{tmp_path / 'x.txt'}", key="a")


def test_real_documents(data_dir):
    source = open_source(f"documents,column=1:{data_dir / 'documents/octis/BBC_News/corpus.tsv.gz'}")
    assert (source.shape, source.nnz) == ((2225, 2949), 182_484)
    assert "broadband" in source.feature_names


# --- LDA-C --------------------------------------------------------------------------------------------------


def write_ldac(path, text="2 0:1 3:2\n0\n1 1:5\n", tokens="cat\ndog\nmat\nsat\n", titles="A\nB\nC\n"):
    path.write_text(text)
    path.with_suffix(".tokens").write_text(tokens)
    path.with_suffix(".titles").write_text(titles)
    return path


class TestLDAC(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = write_ldac(tmp_path / "x.ldac")

    def make(self):
        return ldac.read(str(self.path))


def test_ldac_with_its_names(tmp_path):
    source = open_source(write_ldac(tmp_path / "x.ldac"))
    np.testing.assert_array_equal(whole(source), [[1, 0, 0, 2], [0, 0, 0, 0], [0, 5, 0, 0]])
    assert source.row_names == ("A", "B", "C")
    assert source.feature_names == ("cat", "dog", "mat", "sat")
    (tmp_path / "x.tokens").unlink()
    (tmp_path / "x.titles").unlink()
    bare = open_source(tmp_path / "x.ldac")
    assert (bare.shape, bare.row_names, bare.feature_names) == ((3, 4), None, None)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"text": ""}, "is empty"),
        ({"text": "2 0:1\n"}, "line 1 announces 2 words and has 1"),
        ({"text": "1 0:1\n1 a:1\n"}, "line 2 is not N word:count"),
        ({"text": "1 0\n"}, "line 1 is not N word:count"),
        ({"text": "1 -1:2\n"}, "line 1: words are numbered from 0"),
        ({"text": "1 99999999999:2\n", "tokens": ""}, "line 1: words are numbered from 0"),
        ({"text": "1 4:2\n"}, "counts word 4, and 4 words are named"),
        ({"titles": "A\n"}, "has 3 documents, and 1 titles"),
    ],
)
def test_what_is_no_ldac(tmp_path, changed, words):
    with pytest.raises(SourceError, match=rf"x\.ldac.*{words}"):
        open_source(write_ldac(tmp_path / "x.ldac", **changed))


def test_a_cell_in_quotes_goes_over_several_lines(tmp_path):
    text = 'id,text\n1,"red\nwell, green"\n\n2,"blue ""red"""\n'.replace("\n\n", "\n")
    source = documents.read(str(lines(tmp_path / "x.csv", text)), column="text")
    assert source.feature_names == ("blue", "green", "red", "well")
    assert np.array_equal(whole(source), [[0, 1, 1, 1], [1, 0, 1, 0]])


def test_a_long_text_in_quotes_is_read(tmp_path):
    source = documents.read(str(lines(tmp_path / "x.csv", '"{}"\nred\n'.format("blue " * 30_000))))
    assert np.array_equal(whole(source), [[30_000, 0], [0, 1]])


def test_quotes_that_do_not_end_would_swallow_documents_and_are_refused(tmp_path):
    with pytest.raises(SourceError, match="line 3: the quotes are wrong"):
        documents.read(str(lines(tmp_path / "x.csv", 'red\n"blue\ngreen\n')))


def test_lines_of_an_encoding_without_plain_line_ends_are_refused(tmp_path):
    (tmp_path / "x.txt").write_text("red\nblue\n", "utf-16")
    with pytest.raises(UsageError, match="lines cannot be told in utf-16"):
        documents.read(str(tmp_path / "x.txt"), encoding="utf-16")


def test_a_blank_token_keeps_the_place_of_those_behind_it(tmp_path):
    (tmp_path / "x.ldac").write_text("2 0:1 2:3\n1 3:1\n")
    (tmp_path / "x.tokens").write_text("red\n\nblue\ngreen\n\n")
    assert ldac.read(str(tmp_path / "x.ldac")).feature_names == ("red", "", "blue", "green")


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are those of Linux")
def test_a_file_name_that_is_no_text_becomes_one(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("red blue")
    assert documents.read(str(tmp_path)).row_names == ("caf\\xe9.txt",)


def test_a_folder_below_that_cannot_be_read_is_not_left_out(tmp_path, monkeypatch):
    folder(tmp_path)
    listed = os.scandir

    def locked(path):
        if os.fspath(path).endswith("b"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(SourceError, match=r"b cannot be read: Permission denied"):
        documents.read(str(tmp_path))
