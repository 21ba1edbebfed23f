"""nmfkit in a scikit-learn program: components of digits as features, their number and loss chosen by grid search."""

import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nmfkit.estimators import NMF


def main():
    x, y = load_digits(return_X_y=True)
    x, y = x[:600], y[:600]
    nmf = NMF(max_iter=60, random_state=0, threads=1)
    pipe = make_pipeline(nmf, StandardScaler(), LogisticRegression(max_iter=300))
    grid = {"nmf__n_components": [4, 8, 16], "nmf__beta_loss": ["frobenius", "kullback-leibler"]}
    search = GridSearchCV(pipe, grid, cv=3).fit(x, y)
    for asked, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        print(f"{asked['nmf__n_components']:3} components, {asked['nmf__beta_loss']:17} {score:.3f}")
    print(f"best: {search.best_params_['nmf__n_components']} components, {search.best_score_:.1%} of digits right")

    # The same model batch by batch, as for data that never are in memory together.
    streamed = NMF(n_components=16, beta_loss="kullback-leibler", random_state=0, threads=1)
    for first in range(0, 600, 100):
        streamed.partial_fit(x[first : first + 100])
    print(f"after {streamed.n_steps_} batches: {streamed.transform(x).shape[1]} features for each of {len(x)} digits")


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)  # sixty sweeps do for choosing
    main()
