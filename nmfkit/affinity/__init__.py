"""From samples × features, or from a graph, to the symmetric similarity matrix of the samples.

| module | what |
|---|---|
| `kinds` | the kinds there are, from their text |
| `knn`, `cosine`, `graph` | the kinds: self-tuning Gaussian neighbours, cosine neighbours, a graph that is there |
| `look` | one pass over the data: what is refused, and their scale |
| `panel` | rows ready for products, dense or sparse |
| `euclidean`, `angle` | what near means: fast scores of many pairs, exact keys of few |
| `nearest`, `search` | the nearest rows of each row, by blocks of rows against blocks of rows |
| `symmetric`, `cut` | a symmetric matrix, its normalised cut |
| `cautions` | nodes without an edge, and nodes with one to themselves |
| `similarity` | the function of Python |
"""
