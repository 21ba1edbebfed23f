"""`.ldac`: word counts as LDA-C keeps them, with the words in `.tokens` and the documents in `.titles` beside it."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.containers import affordable, no_key
from nmfkit_plugins.files.lines import ENTRY, text_lines

TOKENS, TITLES = (".tokens", ".vocab"), (".titles",)

OFTEN = 2**14
"""Documents after each of which the memory is looked at."""

LARGEST = 2**31 - 1
"""Words that can be numbered."""


def read(path: str, *, key: str | None = None) -> SparseSource:
    """The counts in `path`, documents × words; raises `SourceError` naming the line that is no document."""
    from scipy.sparse import csr_array

    no_key(path, key)
    indptr, words, counts = array("q", [0]), array("q"), array("d")
    for line, text in text_lines(path):
        if not text.strip():
            continue
        for word, count in _document(text.split(), f"{path}, line {line}"):
            words.append(word)
            counts.append(count)
        indptr.append(len(words))
        if (len(indptr) - 1) % OFTEN == 0:
            affordable(path, len(words) * ENTRY, f"a matrix of its first {len(words)} entries")
    if len(indptr) == 1:
        raise SourceError(f"{path} is empty")
    tokens, titles = _names(path, TOKENS), _names(path, TITLES)
    m, n = len(indptr) - 1, len(tokens) if tokens else max(words, default=0) + 1
    if tokens and words and max(words) >= n:
        raise SourceError(f"{path} counts word {max(words)}, and {n} words are named beside it; they count from 0")
    if titles and len(titles) != m:
        raise SourceError(f"{path} has {m} documents, and {len(titles)} titles beside it")
    matrix = csr_array((np.asarray(counts), np.asarray(words), np.asarray(indptr)), shape=(m, n))
    return SparseSource(matrix, uri=path, row_names=titles, feature_names=tokens)


def _document(cells: list[str], where: str) -> list[tuple[int, float]]:
    """Words and counts of one line: how many words, then `word:count` for each."""
    try:
        entries = [(int(word), float(count)) for word, _, count in (cell.partition(":") for cell in cells[1:])]
        stated = int(cells[0])
    except ValueError:
        raise SourceError(f"{where} is not N word:count word:count …, with words as numbers from 0") from None
    if stated != len(entries):
        raise SourceError(f"{where} announces {stated} words and has {len(entries)}")
    if any(not 0 <= word <= LARGEST for word, _ in entries):
        raise SourceError(f"{where}: words are numbered from 0 to {LARGEST}")
    return entries


def _names(path: str, suffixes: tuple[str, ...]) -> tuple[str, ...] | None:
    """The lines of the file beside `path` with one of the suffixes, None where there is none."""
    beside = [p for p in (Path(path).with_suffix(suffix) for suffix in suffixes) if p.is_file()]
    if not beside:
        return None
    names = [text.strip() for _, text in text_lines(str(beside[0]))]
    while names and not names[-1]:  # a blank line before others is the place of a name that is blank
        names.pop()
    return tuple(names)
