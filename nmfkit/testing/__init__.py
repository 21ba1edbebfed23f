"""The compliance kit: what each kind of part must hold, as tests to inherit, and what they are made of.

    from nmfkit.testing import LossContract

    class TestMine(LossContract):
        def make(self):
            return Mine(0.5)

Every `test_…` method is one law; pytest finds them, and each can be called by itself. `check_part("mine")`
runs them all on a registered part. The laws draw their cases with hypothesis: `pip install nmfkit[test]`.
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis
except ImportError as error:
    raise ImportError("nmfkit.testing draws its cases with hypothesis: pip install nmfkit[test]") from error

from nmfkit.testing.chunked import Chunked
from nmfkit.testing.device import StrictArray, to_device, to_host
from nmfkit.testing.executor import ExecutorContract
from nmfkit.testing.initializer import InitializerContract
from nmfkit.testing.law import Contract, law
from nmfkit.testing.loss import LossContract
from nmfkit.testing.model import ModelContract
from nmfkit.testing.reader import SourceContract
from nmfkit.testing.registered import contract_for, examples_of
from nmfkit.testing.regularizer import RegularizerContract
from nmfkit.testing.rule import RuleContract
from nmfkit.testing.run import LawResult, check_part

del _hypothesis

__all__ = [
    "Chunked",
    "Contract",
    "ExecutorContract",
    "InitializerContract",
    "LawResult",
    "LossContract",
    "ModelContract",
    "RegularizerContract",
    "RuleContract",
    "SourceContract",
    "StrictArray",
    "check_part",
    "contract_for",
    "examples_of",
    "law",
    "to_device",
    "to_host",
]
