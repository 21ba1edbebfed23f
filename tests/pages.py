"""Pages of nmfkit read strictly, and a matrix to make one of."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np

from nmfkit.report.html import VOID


def matrix(m, n, rank=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.gamma(0.6, 1, (m, rank)) @ rng.gamma(0.4, 1, (rank, n)) + 0.01 * rng.random((m, n))


class Page(HTMLParser):
    """A page read strictly: every element closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.open += [] if tag in VOID else [tag]
        self._note(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        assert tag in VOID
        self._note(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def _note(self, tag, attributes):
        assert tag != "script"
        given = dict(attributes)
        assert len(given) == len(attributes)
        assert not any(name.startswith("on") for name in given)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("src", "href") if name in given]
        if tag == "img":
            assert given["alt"]


def check(path):
    """The page, of which everything is found that a test can find without a browser."""
    text = path.read_text("utf-8")
    page = Page(text)
    assert len(set(page.ids)) == len(page.ids)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not re.search(r"url\(|@import|https?://", text)
    return page
