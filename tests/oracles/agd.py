"""Alternating gradient descent with thresholded decoding (Li & Liang, ICML 2017), step by step, on X (m, n) ≈ Z H.

With samples as rows: H (r, n) is the transpose of the paper's A, Z (m, r) that of its weights. A stage lowers the
threshold, decodes once with the pseudo-inverse, and takes `steps` gradient steps in H, one after the other. Not the
paper's: the step length is 1 / λmax(ZᵀZ), the first threshold a fraction of what samples decode to, and H has rows of
length 1 before every stage; the paper's numbers fit the scale of its own data only.
"""

from __future__ import annotations

from itertools import islice

import numpy as np


def unit(h):
    """H with rows of length 1."""
    return h / np.linalg.norm(h, axis=1, keepdims=True)


def decoded(x, h, threshold):
    """Z = X H⁺ where it is at least the threshold, and 0 elsewhere: what is kept is not shifted."""
    z = x @ np.linalg.pinv(h)
    return np.where(z >= threshold, z, 0.0)


def soft(x, h, threshold):
    """The shifted one, which does not recover the components."""
    return np.maximum(x @ np.linalg.pinv(h) - threshold, 0.0)


def stepped(x, z, h, steps=50, length=None):
    """H after so many gradient steps on ½ ‖X − Z H‖², Z fixed."""
    gram, cross = z.T @ z, z.T @ x
    top = np.linalg.eigvalsh(gram)[-1]
    if top <= 0:
        return h
    for _ in range(steps):
        h = h + (1 / top if length is None else length) * (cross - gram @ h)
    return h


def first_threshold(x, h, relative=0.3):
    """`relative` times the median over samples of their largest decoded weight, of those that have a positive one."""
    largest = np.max(x @ np.linalg.pinv(unit(h)), axis=1)
    return relative * float(np.median(largest[largest > 0]))


def stage(x, h, threshold, steps=50, decode=decoded):
    """The next H, the Z that led to it, and ½ ‖X − Z H‖² of that Z and the H before."""
    z = decode(x, h, threshold)
    return unit(stepped(x, z, h, steps)), z, 0.5 * float(np.sum((x - z @ h) ** 2))


def stages(x, h, relative=0.3, decay=1.1, floor=0.0, steps=50, decode=decoded):
    """H, Z and the objective of each stage, without end; the threshold is lowered before its first use."""
    h, threshold = unit(h), first_threshold(x, h, relative)
    while True:
        threshold = max(threshold / decay, floor)
        following, z, objective = stage(x, h, threshold, steps, decode)
        yield h, z, objective
        h = following


def fitted(x, h, count, **options):
    """H after so many stages."""
    return next(islice(stages(x, h, **options), count, None))[0]


def correlation_error(h, truth):
    """Σ over true components of min over found ones and signs σ of ‖h* − σ h‖², both of length 1 and σ the best."""
    h, truth = unit(h), unit(truth)
    cosine = truth @ h.T
    best = np.argmax(np.abs(cosine), axis=1)
    nearest = np.take_along_axis(cosine, best[:, None], axis=1)
    return float(np.sum((truth - nearest * h[best]) ** 2))
