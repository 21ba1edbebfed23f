"""Every solver by its name, with what it needs and what it can be asked."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import scipy.sparse as sp

from solvers import compiled, own, python, r, scikit_learn, torch_based


@dataclass(frozen=True)
class Solver:
    """`fit(work, threads, course)` goes on until `course` has enough.

    It needs the importable `modules`, and R's `libraries`; `betas` are the losses that it has, `sparse` and `dense`
    say which X it takes.
    """

    fit: Callable
    modules: tuple[str, ...] = ()
    betas: tuple[float, ...] = (2.0,)
    sparse: bool = False
    dense: bool = True
    libraries: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """What is not installed."""
        modules = [name for name in self.modules if importlib.util.find_spec(name) is None]
        return modules + [f"R's {name}" for name in self.libraries if r.version(name) is None]

    def versions_in_r(self) -> dict[str, str]:
        """The versions of the libraries."""
        return {f"R's {name}": str(r.version(name)) for name in self.libraries}

    def refuses(self, work) -> str | None:
        """Why it cannot be asked for `work`, if so."""
        if work.beta not in self.betas:
            return f"it does not minimise {work.loss}"
        if not (self.sparse if sp.issparse(work.x) else self.dense):
            return f"it takes no {'sparse' if sp.issparse(work.x) else 'dense'} matrix"
        return None


EVERY = (2.0, 1.0, 0.0)

SOLVERS = {
    "nmfkit": Solver(own.nmfkit(), ("nmfkit",), EVERY, sparse=True),
    "sklearn-cd": Solver(scikit_learn.factorization("cd"), ("sklearn",), sparse=True),
    "sklearn-mu": Solver(scikit_learn.factorization("mu"), ("sklearn",), EVERY, sparse=True),
    "sklearn-minibatch": Solver(scikit_learn.minibatch, ("sklearn",), EVERY, sparse=True),
    "torchnmf": Solver(torch_based.torchnmf, ("torch", "torchnmf"), EVERY, sparse=True),
    "nmf-torch-mu": Solver(torch_based.nmf_torch("mu"), ("torch", "nmf"), EVERY),
    "nmf-torch-hals": Solver(torch_based.nmf_torch("halsvar"), ("torch", "nmf")),
    "nmf-torch-bpp": Solver(torch_based.nmf_torch("bpp"), ("torch", "nmf")),
    "nn-fac-hals": Solver(python.nn_fac("hals"), ("nn_fac",)),
    "nn-fac-mu": Solver(python.nn_fac("mu"), ("nn_fac",), EVERY),
    "gensim": Solver(python.gensim, ("gensim",), sparse=True, dense=False),
    "nmf-rs-hals": Solver(compiled.nmf_rs("hals"), ("nmf_rs",)),
    "nmf-rs-ehals": Solver(compiled.nmf_rs("ehals"), ("nmf_rs",)),
    "nmf-rs-brunet": Solver(compiled.nmf_rs("brunet"), ("nmf_rs",), (1.0,)),
    "salamander": Solver(compiled.salamander, ("salamander",), (1.0,)),
    "rcppml": Solver(r.in_r("rcppml"), (), sparse=True, libraries=("Matrix", "RcppML")),
    "fasttopics": Solver(r.in_r("fasttopics"), (), (1.0,), sparse=True, libraries=("Matrix", "fastTopics")),
}


def find(name) -> Solver:
    """The solver of that name, or nmfkit with the rule that follows it: `nmfkit:mu`; raises `KeyError`."""
    if name.startswith("nmfkit:"):
        return Solver(own.nmfkit(name.partition(":")[2]), ("nmfkit",), EVERY, sparse=True)
    return SOLVERS[name]


def is_peer(name) -> bool:
    """Whether it is somebody else's."""
    return name.partition(":")[0] != "nmfkit"
