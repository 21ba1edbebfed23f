"""The stand-in device array refuses what a device array would, and nothing that it would not."""

from __future__ import annotations

import operator
import types

import numpy as np
import pytest

from nmfkit.blocks import Dense
from nmfkit.lowrank import LowRank
from nmfkit.testing import StrictArray, device_cupy, to_device, to_host
from nmfkit.testing.device_functions import ATTRIBUTES, FLAGS, FUNCTIONS, METHODS
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
    "a bare host array": lambda a: a + np.asarray(2.0),
    "a bare host array in a function": lambda a: np.where(a > 0, a, np.asarray(2.0)),
    "a list as an operand": lambda a: a * [1.0, 2.0, 3.0],
    "None as an operand": lambda a: np.maximum(a, None),
    "a wide number": lambda a: a + np.longdouble(1),
    "numbers among arrays": lambda a: np.concatenate([[0.0], a[0]]),
    "numbers that are stacked": lambda a: np.stack([a[0], [1.0, 2.0, 3.0]]),
    "a list of arrays in a sum": lambda a: np.sum([a, a]),
    "a condition that is none": lambda a: np.where(True, a, 0.0),
    "a scalar in a product": lambda a: np.dot(2.0, a),
    "an integer of NumPy's that is looked for": lambda a: np.searchsorted(a[0], np.int64(1)),
    "weights that are a list": lambda a: np.bincount(a[0].astype(int), weights=[1.0, 2.0, 3.0]),
    "an empty shape": lambda a: np.zeros_like(a, shape=()),
    "no shape": lambda a: np.full_like(a, 1.0, shape=0),
    "a kind of sort": lambda a: np.sort(a, kind="heapsort"),
    "a range to a device array": lambda a: np.arange(a.sum(), like=a),
    "matrices for one side": lambda a: np.linalg.solve(a[:, :2][None] + np.ones_like(a, shape=(3, 1, 1)), a[:, :2]),
    "an end of a slice": lambda a: a[0][: a[0, 1].astype(int)],
    "an integer of it": lambda a: range(a[0, 1].astype(int)),
    "a shape of it": lambda a: np.zeros_like(a, shape=(a[0, 1].astype(int),)),
    "a bare host array assigned": lambda a: a.__setitem__(0, np.asarray(2.0)),
    "a list assigned": lambda a: a.__setitem__(0, [1.0, 2.0, 3.0]),
    "two masks assigned to": lambda a: a.__setitem__((a[:, 0] > 1, a[0] > 1), 0.0),
    "a product in place": lambda a: operator.imatmul(a, a),
    "several results in place": lambda a: np.modf(a, out=(a, a)),
    "whether it can be written to": lambda a: a.flags.writeable,
    "names of results": lambda a: np.linalg.eigh(a @ a.T).eigenvalues,
    "a keyword of NumPy's norm": lambda a: np.linalg.pinv(a, hermitian=True),
    "ends of a clip by name": lambda a: np.clip(a, min=0.0, max=1.0),
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
    "operators with scalars": lambda a: 2 * a + 1 - a / np.float64(3) + np.bool_(True),
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
    "host numbers that are sent there": lambda a: (
        np.asarray(HOST[0], like=a) + np.array(HOST, dtype=np.float32, like=a)
    ),
    "a clip": lambda a: np.clip(a, 1.0, None) + a.reshape(-1, 3).astype(np.float32, copy=False),
    "repeats by a device array": lambda a: np.repeat(a[0], a[0].astype(int)),
    "counts": lambda a: np.bincount(a[0].astype(int), weights=a[1], minlength=5),
    "what is looked for": lambda a: np.searchsorted(a[0], 1),
    "an index of device arrays": lambda a: a[np.nonzero(a[:, 0] > 1)[0][:, None], np.argsort(a[0], kind="stable")],
    "a mask assigned to": lambda a: (a.__setitem__(a > 2, 0.5), a)[1],
    "a count": lambda a: np.count_nonzero(a),
    "whether all is close": lambda a: np.allclose(a, a),
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


def test_a_matrix_that_is_none_for_it_raises_nothing_and_gives_no_result():
    a = to_device(-np.eye(2))
    assert bool(np.all(np.isfinite(np.linalg.cholesky(a))))  # as finite as on a device: no test of a matrix
    assert not bool(np.any(np.isfinite(np.linalg.inv(a - a))))


def test_refuses_what_the_installed_cupy_lacks(monkeypatch):
    known = types.SimpleNamespace(add=1, linalg=types.SimpleNamespace(), sum=lambda a, axis=None: None)
    monkeypatch.setattr(device_cupy, "installed", lambda: known)
    a = strict()
    assert type(a + a) is StrictArray
    assert type(np.sum(a, axis=0)) is StrictArray
    with pytest.raises(TypeError, match="CuPy has no multiply"):
        a * a
    with pytest.raises(TypeError, match=r"CuPy has no linalg\.norm"):
        np.linalg.norm(a)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtype'"):
        np.sum(a, dtype=np.float64)


def names(signature):
    return list(signature.parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_written_down_of_functions_is_what_the_installed_cupy_has(name):
    pytest.importorskip("cupy")
    written, *asked = device_cupy.function_signatures(name)
    assert asked or name == "einsum"  # which tells of no more than **kwargs
    for signature in asked:
        known = names(signature)
        assert set(names(written)) <= set(known)
        both = [p for p in known if p in names(written)]
        assert names(written) == both
        for one, p in written.parameters.items():
            assert p.kind == signature.parameters[one].kind
            assert (p.default is p.empty) >= (signature.parameters[one].default is p.empty)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_written_down_of_methods_is_what_the_installed_cupy_has(name):
    pytest.importorskip("cupy")
    written, asked = device_cupy.method_signatures(name)
    assert names(written) == [p for p in names(asked) if p in names(written)]


def test_the_installed_cupy_is_no_more_than_what_the_stand_in_has():
    cupy = pytest.importorskip("cupy")
    assert not hasattr(cupy.ndarray, "__index__")
    assert not hasattr(cupy.ndarray, "__imatmul__")
    assert hasattr(cupy.ndarray, "__array_ufunc__")
    assert all(hasattr(cupy.ndarray, name) for name in (*ATTRIBUTES, "T", "flags", "tolist", "item", "get"))
    assert all(hasattr(cupy._core.flags.Flags, name) for name in FLAGS)
