"""Documents as counts of words: a folder of text files, or a file with a document on each line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nmfkit.errors import SourceError, UsageError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.containers import no_key
from nmfkit_plugins.files.paths import shown
from nmfkit_plugins.text.collection import files, of_files, of_lines

STOP_WORDS = ("english", "none")


def read(
    path: str,
    *,
    key: str | None = None,
    min_df: str = "1",
    max_df: str = "1.0",
    max_features: int | None = None,
    stop_words: str = "none",
    ngram: str = "1",
    tfidf: bool = False,
    column: str | None = None,
    suffix: str | None = None,
    encoding: str = "utf-8",
) -> SparseSource:
    """Documents × words of the texts at `path`, counted by scikit-learn's `CountVectorizer`.

    Words are kept that occur in at least `min_df` and at most `max_df` documents (whole numbers are documents, others
    shares of them), `max_features` of the most frequent ones. `stop_words` is `english` or `none`; `ngram` 2 or 1-2
    counts runs of words up to that length; `tfidf` weighs the counts. `column` is that of the documents in a table,
    `suffix` that of the files to read in a folder. Raises `SourceError` naming the file and byte that is no text.
    """
    no_key(path, key)
    vectorizer = _vectorizer(
        min_df=_frequency("min_df", min_df),
        max_df=_frequency("max_df", max_df),
        max_features=max_features,
        stop_words=_stop_words(stop_words),
        ngram_range=_ngram(ngram),
    )
    _check_encoding(encoding)
    if max_features is not None and max_features < 1:
        raise UsageError(f"max_features={max_features} leaves no words; it is 1 at least")
    names = None
    if Path(path).is_dir():
        paths = files(Path(path), suffix)
        texts = of_files(paths, encoding)
        names = tuple(shown(file.relative_to(path)) for file in paths)
    else:
        texts = of_lines(path, column, encoding)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise SourceError(f"{path}: no words are left to count: {error}") from error
    if tfidf:
        from sklearn.feature_extraction.text import TfidfTransformer

        counts = TfidfTransformer().fit_transform(counts)
    words = tuple(vectorizer.get_feature_names_out().tolist())
    return SparseSource(counts, uri=path, row_names=names, feature_names=words)


def _vectorizer(**options: Any) -> Any:
    try:
        from sklearn.feature_extraction.text import CountVectorizer
    except ImportError as error:
        raise SourceError("documents are counted by scikit-learn: pip install 'nmfkit[sklearn]'") from error
    return CountVectorizer(**options)


def _frequency(name: str, text: str) -> int | float:
    """A number of documents, or a share of them."""
    if re.fullmatch(r"[1-9]\d*", text):
        return int(text)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{name}={text} is neither a number of documents (2) nor a share of them (0.5)")
    return share


def _stop_words(text: str) -> str | None:
    if text not in STOP_WORDS:
        raise UsageError(f"stop_words={text} is none of {', '.join(STOP_WORDS)}")
    return None if text == "none" else text


def _ngram(text: str) -> tuple[int, int]:
    """The shortest and the longest run of words: `2` is 1 to 2."""
    match = re.fullmatch(r"(?:([1-9])-)?([1-9])", text)
    low, high = (int(match[1] or 1), int(match[2])) if match else (1, 0)
    if low > high:
        raise UsageError(f"ngram={text} is no length of runs of words; write 2, or 2-3 for those of two and three")
    return low, high


def _check_encoding(encoding: str) -> None:
    try:
        b"a".decode(encoding, "ignore")
    except LookupError:
        raise UsageError(f"encoding={encoding} is not known; utf-8, latin-1 and cp1252 are") from None
