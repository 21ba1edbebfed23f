"""What is done to the columns of X before it is factorized, block by block, and undone in what comes out.

| module | what |
|---|---|
| `moments` | mean and spread of each column, from one pass over the blocks |
| `standardized` | columns of mean 0 and standard deviation 1, and back |
| `folded` | data of either sign as nonnegative data of twice as many columns, and back |
| `shifted` | a sparse block plus one constant row: sparse data after such steps |
| `pipeline` | the steps in a row, by their name |
"""

from __future__ import annotations

from nmfkit.preprocessing.folded import fold, unfold
from nmfkit.preprocessing.moments import Moments, moments_of
from nmfkit.preprocessing.pipeline import Preprocessing
from nmfkit.preprocessing.shifted import Shifted
from nmfkit.preprocessing.standardized import Standard

__all__ = ["Moments", "Preprocessing", "Shifted", "Standard", "fold", "moments_of", "unfold"]
