"""Topics of a collection of documents: KL on word counts, and the words that weigh most in each topic."""

import numpy as np

import nmfkit


def main():
    # On H, a little L1 keeps a topic to the words that it needs; on W as well, so that no scaling evades it.
    result = nmfkit.fit(
        "sample:python-docs", loss="kl", rank=6, reg_w="l1:0.1", reg_h="l1:0.1", init="nndsvda", max_sweeps=100
    )
    words, documents = np.array(result.feature_names), np.array(result.row_names)
    for topic, (weights, loadings) in enumerate(zip(result.h, result.w.T, strict=True)):
        top = words[np.argsort(-weights)[:7]]
        print(f"topic {topic}: {', '.join(top)} (most in {str(documents[np.argmax(loadings)])!r})")


if __name__ == "__main__":
    main()
