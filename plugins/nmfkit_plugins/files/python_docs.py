"""`sample:python-docs`: word counts of the help topics that come with Python itself."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from nmfkit.errors import SourceError
from nmfkit.sources import SparseSource
from nmfkit_plugins.files.containers import no_key

STOP = """
about after all also and any are because been before between both but can cannot could does each for
from had has have here how however into its may more most must not only other our out over same see
should some such than that the their them then there these they this those through too under use
used using very was were what when where which while who will with would you your
"""
"""Words that tell topics apart least."""


def read(path: str, *, key: str | None = None) -> SparseSource:
    """Topics × words, counts; words of three letters or more that occur in two topics or more."""
    from scipy.sparse import csr_array

    no_key(path, key)
    counts = {topic: count for topic, text in sorted(_topics().items()) if (count := _count(text))}
    spread = Counter(word for count in counts.values() for word in count)
    words = sorted(word for word, topics in spread.items() if topics >= 2)
    column = {word: j for j, word in enumerate(words)}
    rows = [sorted((column[w], c) for w, c in count.items() if w in column) for count in counts.values()]
    indptr = np.cumsum([0, *(len(row) for row in rows)])
    entries = np.array([entry for row in rows for entry in row], dtype=np.int32).reshape(-1, 2)
    matrix = csr_array((entries[:, 1].astype(np.float64), entries[:, 0], indptr), shape=(len(rows), len(words)))
    return SparseSource(matrix, uri=path, row_names=tuple(counts), feature_names=tuple(words))


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise SourceError(f"sample:python-docs needs Python's own pydoc_data.topics, absent here: {error}") from error
    return topics


def _count(text: str) -> Counter[str]:
    stop = STOP.split()
    return Counter(word for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in stop)
