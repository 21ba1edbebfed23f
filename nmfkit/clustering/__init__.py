"""Groups of rows: which one each row belongs to, and how well they agree with classes that are known.

| module | what |
|---|---|
| `assignments` | the group of each row, and its part in every group |
| `agreement` | accuracy, normalized and adjusted mutual information, adjusted Rand index and purity |
| `expected` | the mutual information by chance |
| `classes` | known classes, of an array or a file, brought into the order of the rows |
| `known`, `named` | files of labels: how they are read, and matched to rows by name |
"""

from __future__ import annotations

from nmfkit.clustering.agreement import Agreement, agreement
from nmfkit.clustering.classes import Classes, classes_of

__all__ = ["Agreement", "Classes", "agreement", "classes_of"]
