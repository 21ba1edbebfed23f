"""The two ways in which a fit is followed that has no hook for it."""

from contextlib import closing

from course import marks


def stepwise(steps):
    """A solver from the generator `steps(work, threads)` of (iterations, W, H), whose clock may follow.

    It goes on from its own last factors. That is exact for methods without memory, but what a call costs besides its
    iterations is paid at every checkpoint.
    """

    def fit(work, threads, course):
        with closing(steps(work, threads)) as points:
            for point in points:
                course.reached(*point)

    return fit


def refitted(once, first=1):
    """A solver from `once(work, threads, iterations)`, the W and H of a whole fit.

    For methods that keep a memory, or take no start: each checkpoint is a fit of its own from the start, and the clock
    counts that one alone.
    """

    def fit(work, threads, course):
        for iterations in marks(first, growth=2):
            course.restart()
            course.reached(iterations, *once(work, threads, iterations))

    return fit
