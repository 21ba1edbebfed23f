"""Parts of handwritten digits: fit a sample, look at the components as small pictures."""

import numpy as np

import nmfkit

SHADES = " .:-=+*#%@"


def picture(row):
    """A component of 64 weights as eight lines of eight shades."""
    levels = np.round(row / row.max() * (len(SHADES) - 1)).astype(int)
    return ["".join(2 * SHADES[level] for level in line) for line in levels.reshape(8, 8)]


def main():
    result = nmfkit.fit("sample:digits", loss="kl", rank=8, max_sweeps=100)
    print(f"objective {result.objective:,.0f} after {result.history.sweep[-1]} sweeps ({result.stopped_by})")
    for start in (0, 4):
        rows = [picture(row) for row in result.h[start : start + 4]]
        print("\n" + "\n".join("   ".join(line) for line in zip(*rows, strict=True)))


if __name__ == "__main__":
    main()
