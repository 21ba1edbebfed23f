"""The stand-in device array refuses what a device array would, and nothing that it would not."""

from __future__ import annotations

import operator
import types

import numpy as np
import pytest

from nmfkit.blocks import Dense
from nmfkit.lowrank import LowRank
from nmfkit.testing import StrictArray, device, to_device, to_host
from nmfkit.testing.strategies import sparse

HOST = np.arange(6.0).reshape(2, 3)


def strict():
    return to_device(HOST)


REFUSED = {
    "a NumPy array of it": lambda a: np.asarray(a),
    "a copy of it": lambda a: np.array(a, dtype=float, copy=True),
    "C order without like": lambda a: np.ascontiguousarray(a.T),
    "a host array added": lambda a: a + HOST,
    "a host array on the left": lambda a: HOST * a,
    "a host matrix multiplied": lambda a: HOST.T @ a,
    "a host array in place": lambda a: operator.iadd(a, HOST),
    "a host array as a condition": lambda a: np.where(HOST > 0, a, 0),
    "a host array in a list": lambda a: np.concatenate([a, HOST]),
    "a host array assigned": lambda a: a.__setitem__(slice(None), HOST),
    "a host index": lambda a: a[np.array([0, 1])],
    "a ufunc's method": lambda a: np.add.at(a, 0, 1.0),
    "a reduction of a ufunc": lambda a: np.maximum.reduce(a),
    "an initial value": lambda a: np.max(a, initial=0),
    "a mask in a sum": lambda a: np.sum(a, where=a > 1),
    "eye, to which NumPy adds what CuPy lacks": lambda a: np.eye(2, like=a),
    "a function out of the list": lambda a: np.median(a),
    "a method out of the list": lambda a: a.byteswap(),
    "float() of many": lambda a: float(a),
    "int() of many": lambda a: int(a),
    "the truth of many": lambda a: bool(a),
    "a float() of one in a matrix": lambda a: float(a[:1, :1]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what):
    with pytest.raises((TypeError, AttributeError)):
        REFUSED[what](strict())


ALLOWED = {
    "operators with scalars": lambda a: 2 * a + 1 - a / np.float64(3) + np.asarray(2.0),
    "powers": lambda a: a**0.5 + np.square(a),
    "products": lambda a: a @ a.T,
    "in place": lambda a: operator.imul(a, 2.0),
    "new arrays from arrays": lambda a: np.zeros_like(a, shape=(2, 2)) + np.full_like(a, 3.0, shape=(1, 2)),
    "a range": lambda a: np.arange(3, like=a),
    "C order with like": lambda a: np.ascontiguousarray(a.T, like=a),
    "reductions": lambda a: np.sum(a, axis=0, dtype=np.float64) + a.max(axis=0) + np.min(a),
    "indexing": lambda a: a[:, 1:][0] + a[a > 2].sum(),
    "assignment": lambda a: (a.__setitem__((0, slice(None)), a[1]), a)[1],
    "dispatch of lists": lambda a: np.concatenate([a, a], axis=1),
    "einsum": lambda a: np.einsum("ij,ij->i", a, a),
    "casts": lambda a: a.astype(np.float32),
    "comparison": lambda a: (a > 1) & (a <= 4),
    "several results": lambda a: np.broadcast_arrays(a, a[:1])[1],
    "linear algebra": lambda a: np.linalg.slogdet(a @ a.T + 1.5)[1],
}


@pytest.mark.parametrize("what", ALLOWED)
def test_allows_and_agrees_with_numpy(what):
    result = ALLOWED[what](strict())
    assert type(result) is StrictArray
    expected = ALLOWED[what](HOST.copy())
    assert to_host(result).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(to_host(result), expected)


def test_scalars_go_to_the_host_when_asked():
    a = strict()
    assert float(a.sum()) == 15.0
    assert int(a[0, 1]) == 1
    assert bool(np.all(a >= 0)) is True
    assert a.tolist() == HOST.tolist()
    assert (a.shape, a.dtype, a.ndim, a.size, a.nbytes) == ((2, 3), np.float64, 2, 6, 48)
    assert np.result_type(a, np.float32) == np.float64
    assert [row.tolist() for row in a] == HOST.tolist()


def test_carries_nested_values_there_and_back():
    value = {"a": [HOST, (1.5, None)], "x": Dense(HOST, 3), "s": sparse(HOST), "y": LowRank(HOST.T, HOST)}
    there = to_device(value)
    assert type(there["a"][0]) is type(there["x"].values) is type(there["s"].indptr) is StrictArray
    assert type(there["y"].form()) is StrictArray
    back = to_host(there)
    assert back["a"][1] == (1.5, None)
    assert back["x"].first == 3
    for one, other in ((back["a"][0], HOST), (back["s"].dense(), HOST), (back["y"].form(), HOST.T @ HOST)):
        np.testing.assert_array_equal(one, other)


def test_shares_no_memory_with_the_host():
    host = HOST.copy()
    there = to_device(host)
    there[0, 0] = 99.0
    assert host[0, 0] == 0.0


def test_refuses_what_the_installed_cupy_lacks(monkeypatch):
    monkeypatch.setattr(device, "_cupy", lambda: types.SimpleNamespace(add=1, linalg=types.SimpleNamespace()))
    a = strict()
    assert type(a + a) is StrictArray
    with pytest.raises(TypeError, match="CuPy has no multiply"):
        a * a
    with pytest.raises(TypeError, match=r"CuPy has no linalg\.norm"):
        np.linalg.norm(a)
