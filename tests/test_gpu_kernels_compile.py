"""Every source of CUDA C compiles for the GPUs that it is meant for, without one: to PTX and to machine code."""

from __future__ import annotations

import re

import pytest

from nmfkit.kernels.cuda import compile_options, source_text, sources

nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="the extra gpu-check is not installed", exc_type=ImportError)

ARCHITECTURES = ["compute_75", "compute_80", "sm_90"]
"""The least that is admitted, on demand; what most have at least; machine code for the latest that it ran on."""


def cases():
    """Every source for every GPU; the least one, and machine code for wide indices, on demand: they differ little."""
    for source in sources():
        for types in source.combinations:
            for architecture in ARCHITECTURES:
                wide = types.get("INDEX") == "int64" and architecture.startswith("sm_")
                seldom = wide or architecture == "compute_75"
                marks = [pytest.mark.slow] if seldom else []
                name = "-".join([source.name, *types.values(), architecture])
                yield pytest.param(source.name, types, architecture, id=name, marks=marks)


def asked(result, *rest):
    assert result == nvrtc.nvrtcResult.NVRTC_SUCCESS, result
    return rest[0] if rest else None


def compiled(text, types, architecture):
    """What the compiler makes of a source, None if nothing, and what it says about it."""
    # CuPy adds the last option itself.
    options = [o.encode() for o in (*compile_options(types), f"--gpu-architecture={architecture}", "-ftz=true")]
    program = asked(*nvrtc.nvrtcCreateProgram(text.encode(), b"kernels.cu", 0, [], []))
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = b" " * asked(*nvrtc.nvrtcGetProgramLogSize(program))
    asked(*nvrtc.nvrtcGetProgramLog(program, log))
    made = None
    if result == nvrtc.nvrtcResult.NVRTC_SUCCESS:
        kind = "CUBIN" if architecture.startswith("sm_") else "PTX"
        made = b" " * asked(*getattr(nvrtc, f"nvrtcGet{kind}Size")(program))
        asked(*getattr(nvrtc, f"nvrtcGet{kind}")(program, made))
    asked(*nvrtc.nvrtcDestroyProgram(program))
    return made, log.decode().strip("\0 \n")


@pytest.mark.parametrize(("name", "types", "architecture"), [*cases()])
def test_sources_compile_without_a_warning(name, types, architecture):
    made, said = compiled(source_text(name), types, architecture)
    assert not said
    for kernel in next(source.kernels for source in sources() if source.name == name):
        assert kernel.encode() in made


def test_every_source_has_kernels_and_whole_combinations():
    names = [source.name for source in sources()]
    assert len(set(names)) == len(names) > 3
    for source in sources():
        assert source.kernels
        assert len({tuple(types) for types in source.combinations}) == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("KERNEL bad(const double *x, double *y) { y[0] = x[0] + z; }", 'identifier "z" is undefined'),
        ("KERNEL bad(const double *x, double *y) { x[0] = y[0]; }", "modifiable lvalue"),
        ("KERNEL bad(double *y) { int unused = 1; y[0] = 0; }", "warning"),
    ],
)
def test_a_fault_is_found_with_its_line(fault, says):
    text = source_text("dense")
    line = len(text.split('#line 1 "dense.cu"\n')[1].splitlines()) + 2
    _, said = compiled(f"{text}\n{fault}\n", {"REAL": "float"}, "compute_75")
    assert says in said
    assert re.search(rf"dense\.cu\({line}\)", said), said
