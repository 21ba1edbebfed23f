"""How good an embedding is: rows of W beside the rows of X that they stand for, and beside known classes.

| module | what |
|---|---|
| `preserved` | trustworthiness and continuity: whether near rows stay near |
| `ranks` | the rank of given rows among all others, by blocks |
| `by_class` | k-NN accuracy and clusters by k-means (scikit-learn) |
| `quality` | all of it for two matrices |
| `of_run` | which rows of a run are compared, and how they come together |
| `asked` | numbers of neighbours, and how many rows are drawn |
| `matrices` | rows of what a caller hands over, some of them, and what a model makes of them |
"""

from __future__ import annotations

from nmfkit.embedding.by_class import ByClass, NearestRows, kmeans_agreement, knn_accuracy
from nmfkit.embedding.preserved import Preserved, continuity, trustworthiness
from nmfkit.embedding.quality import Quality, quality

__all__ = [
    "ByClass",
    "NearestRows",
    "Preserved",
    "Quality",
    "continuity",
    "kmeans_agreement",
    "knn_accuracy",
    "quality",
    "trustworthiness",
]
