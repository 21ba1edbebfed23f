"""nmfkit itself: one fit, watched."""

from course import marks


def nmfkit(rule="auto"):
    """nmfkit with an update rule."""

    def fit(work, threads, course):
        import nmfkit

        nmfkit.fit(
            work.x, w=work.w, h=work.h, loss=work.loss, rank=work.rank, rule=rule, tol=0, max_sweeps=10**9,
            dtype=work.x.dtype.name, threads=threads, watcher=following(course, work.x.shape[0]),
        )  # fmt: skip

    return fit


def following(course, m):
    """A watcher that tells `course` of the sweeps that are marked.

    Sweep 0 only fits W to the H that is given, so that after sweep k both have been updated k times at least.
    """
    from nmfkit.loop import Watcher

    class Following(Watcher):
        def __init__(self):
            self.marks = marks()
            self.next = next(self.marks)

        def sweep(self, state):
            if state.sweep == self.next:
                self.next = next(self.marks)
                course.reached(state.sweep, state.rows.read(0, m)["w"], state.current["h"])

    return Following()
