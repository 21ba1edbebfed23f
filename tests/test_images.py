"""Images become pixels × bands, or a row each, whatever their layout in the file; the size of the image is kept."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import nmfkit
from nmfkit.errors import DataError, SourceError, UsageError
from nmfkit.sources import open_source
from nmfkit.sources.about import About, about_of
from nmfkit.testing import SourceContract

ORDERS = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}
TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
WAVES = (450.0, 550.5, 650.0, 850.0, 2200.0)


def cube(height=3, width=4, bands=5):
    return (np.arange(height * width * bands).reshape(height, width, bands) * 7 % 101).astype(float)


def write_envi(folder, image, *, order="bsq", kind=4, big=0, offset=0, name="x", ending=".img", **fields):
    height, width, bands = image.shape
    stored = image.transpose(ORDERS[order]).astype((">" if big else "<") + TYPES[kind])
    (folder / (name + ending)).write_bytes(b"\x7f" * offset + stored.tobytes())
    known = {
        "description": "{\n  made for = a test }", "samples": width, "lines": height, "bands": bands,
        "header offset": offset, "file type": "ENVI Standard", "data type": kind, "interleave": order,
        "byte order": big, **{k.replace("_", " "): v for k, v in fields.items()},
    }  # fmt: skip
    lines = [f"{k} = {v}" for k, v in known.items() if v is not None]
    path = folder / f"{name}.hdr"
    path.write_text("ENVI\n" + "\n".join(lines) + "\n")
    return path


def whole(source):
    return source.read(0, source.shape[0]).dense()


def pixels(image):
    return image.reshape(-1, image.shape[-1])


# --- ENVI ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "kind", "big"), list(product(ORDERS, TYPES, (0, 1))))
def test_envi_of_every_layout(tmp_path, order, kind, big):
    path = write_envi(tmp_path, cube(), order=order, kind=kind, big=big, offset=3)
    source = open_source(path)
    np.testing.assert_array_equal(whole(source), pixels(cube()))
    assert about_of(source) == About(row_image=(3, 4))
    assert source.dtype == (np.float32 if kind in (1, 2, 4, 12) else np.float64)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(ORDERS)), st.tuples(*[st.integers(1, 6)] * 3), st.data())
def test_envi_by_any_rows(tmp_path_factory, order, size, more):
    folder = tmp_path_factory.mktemp("envi")
    source = open_source(write_envi(folder, cube(*size), order=order, kind=2))
    lo = more.draw(st.integers(0, source.shape[0] - 1))
    hi = more.draw(st.integers(lo + 1, source.shape[0]))
    np.testing.assert_array_equal(source.read(lo, hi).values, pixels(cube(*size))[lo:hi])


def test_envi_names_and_axis(tmp_path):
    listed = "{" + ",\n ".join(map(str, WAVES)) + "}"
    path = write_envi(tmp_path, cube(), wavelength=listed, wavelength_units="Nanometers")
    source = open_source(path)
    assert about_of(source).axis.values == WAVES
    assert about_of(source).axis.unit == "nm"
    assert source.feature_names[:2] == ("450 nm", "550.5 nm")
    source = open_source(write_envi(tmp_path, cube(), band_names="{red, green, blue, near, far}"))
    assert source.feature_names == ("red", "green", "blue", "near", "far")
    assert about_of(source).axis is None


@pytest.mark.parametrize("ending", ["", ".dat", ".img", ".raw", ".BSQ"])
def test_the_raw_file_beside_the_header(tmp_path, ending):
    path = write_envi(tmp_path, cube(), ending=ending)
    np.testing.assert_array_equal(whole(open_source(path)), pixels(cube()))
    assert whole(open_source(f"envi:{tmp_path / ('x' + ending)}")).shape == (12, 5)


def test_a_header_with_both_endings(tmp_path):
    write_envi(tmp_path, cube(), ending=".dat").rename(tmp_path / "x.dat.hdr")
    assert whole(open_source(tmp_path / "x.dat.hdr")).shape == (12, 5)
    assert whole(open_source(f"envi:{tmp_path / 'x.dat'}")).shape == (12, 5)


def test_values_that_stand_for_no_data(tmp_path):
    image = cube()
    image[1, 2, 3] = -9999
    path = write_envi(tmp_path, image, order="bil", kind=2, data_ignore_value="-9999.0")
    with pytest.raises(DataError, match=r"x\.hdr: pixel 6, band 3 holds -9999, .* --missing nan"):
        whole(open_source(path))
    with pytest.raises(DataError, match="pixel 6"):
        open_source(path).read(5, 8)
    image[1, 2, 3] = np.nan
    np.testing.assert_array_equal(whole(open_source(path, missing="nan")), pixels(image))
    np.testing.assert_array_equal(whole(open_source(f"envi,missing=nan:{path}")), pixels(image))


def test_every_fault_of_an_envi_header_at_once(tmp_path):
    path = write_envi(
        tmp_path, cube(), kind=4, interleave="bsp", samples=None, lines="many", data_type=6, byte_order=2,
        header_offset=-1, wavelength="{1, x}", file_compression=1,
    )  # fmt: skip
    with pytest.raises(SourceError) as told:
        open_source(path)
    for fault in (
        "samples is missing", "lines = many is no number", "data type 6 is none", "interleave 'bsp'", "byte order '2'",
        "header offset '-1'", "2 wavelengths for 5 bands", "'x'", "compressed",
    ):  # fmt: skip
        assert fault in str(told.value)


@pytest.mark.parametrize("named", ["../../etc/passwd", "/etc/passwd", "..\\x.img", "sub/x.img", ".."])
def test_a_header_leads_nowhere_else(tmp_path, named):
    path = write_envi(tmp_path, cube(), data_file=named)
    with pytest.raises(SourceError, match=r"must lie beside|does not lie beside"):
        open_source(path)


def test_envi_files_that_do_not_fit(tmp_path):
    path = write_envi(tmp_path, cube(), data_file="x.img")
    assert whole(open_source(path)).shape == (12, 5)
    (tmp_path / "x.img").write_bytes(bytes(239))
    with pytest.raises(SourceError, match=r"x\.img is cut short: x\.hdr describes 240 bytes, and it has 239"):
        open_source(path)
    (tmp_path / "x.img").write_bytes(bytes(241))
    with pytest.raises(SourceError, match="too long"):
        open_source(path)
    (tmp_path / "x.img").unlink()
    with pytest.raises(SourceError, match=r"the raw file \(x\.img\) does not lie beside"):
        open_source(path)
    huge = write_envi(tmp_path, cube(), lines=2**40, samples=2**20)
    with pytest.raises(SourceError, match="cut short"):
        open_source(huge)
    for text, why in (("", "no header of ENVI"), ("ENVI\nbands = {1", "the list 'bands' does not end")):
        path.write_text(text)
        with pytest.raises(SourceError, match=why):
            open_source(path)
    (tmp_path / "alone.img").touch()
    with pytest.raises(SourceError, match="needs its header beside it"):
        open_source(f"envi:{tmp_path / 'alone.img'}")
    with pytest.raises(UsageError, match="single matrix"):
        open_source(write_envi(tmp_path, cube()), key="a")


def test_a_fit_of_an_envi_image_streams(tmp_path):
    path = write_envi(tmp_path, cube(20, 30), order="bil", wavelength="{1,2,3,4,5}")
    one = nmfkit.fit(path, rank=2, max_sweeps=5, seed=1, out=tmp_path / "run.zarr")
    two = nmfkit.fit(pixels(cube(20, 30)).astype(np.float32), rank=2, max_sweeps=5, seed=1)
    np.testing.assert_allclose(one.h, two.h, rtol=1e-5)
    assert one.attributes["source"]["about"]["row_image"] == [20, 30]


class TestEnvi(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        type(self).path = write_envi(tmp_path, cube(7, 9), order="bil", wavelength="{1,2,3,4,5}")

    def make(self):
        return open_source(self.path)


# --- TIFF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_of_every_layout(tmp_path, planar, compression, order, tile):
    image = cube(20, 33).astype(np.uint16)
    laid = image if planar == "contig" else image.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "x.tif", laid, photometric="minisblack", planarconfig=planar, compression=compression,
        byteorder=order, tile=tile,
    )  # fmt: skip
    source = open_source(tmp_path / "x.tif")
    np.testing.assert_array_equal(whole(source), pixels(image))
    assert about_of(source) == About(row_image=(20, 33))
    assert source.resident is False or compression or tile


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_are_bands(tmp_path, compression):
    image = cube(6, 7)
    with tifffile.TiffWriter(tmp_path / "x.tiff") as file:
        for band in image.transpose(2, 0, 1):
            file.write(band.astype(np.float32), compression=compression, contiguous=False)
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.tiff")), pixels(image))
    tifffile.imwrite(tmp_path / "one.tif", image[:, :, 0])
    np.testing.assert_array_equal(whole(open_source(tmp_path / "one.tif")), image[:, :, 0].reshape(-1, 1))


def test_images_of_several_sizes_in_one_file(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(np.ones((4, 5)))
        file.write(np.ones((2, 3)))
        file.write(np.ones((2, 2)), subfiletype=1)
    with pytest.raises(SourceError, match=r"--key NUMBER. It holds: 0 \(4×5\), 1 \(2×3\)"):
        open_source(tmp_path / "x.tif")
    assert about_of(open_source(tmp_path / "x.tif", key="1")).row_image == (2, 3)
    with pytest.raises(UsageError, match="'9' is no number of an image"):
        open_source(tmp_path / "x.tif", key="9")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_value_that_gdal_writes_for_no_data(tmp_path, compression):
    image = cube().astype(np.float32)
    image[2, 0, 1] = -1
    extra = [(42113, "s", 0, "-1", True)]
    tifffile.imwrite(
        tmp_path / "x.tif",
        image,
        planarconfig="contig",
        photometric="minisblack",
        compression=compression,
        extratags=extra,
    )
    with pytest.raises(DataError, match=r"x\.tif: pixel 8, band 1 holds -1, "):
        whole(open_source(tmp_path / "x.tif"))
    image[2, 0, 1] = np.nan
    np.testing.assert_array_equal(whole(open_source(tmp_path / "x.tif", missing="nan")), pixels(image))


def test_a_folder_of_bands(tmp_path):
    image = cube().astype(np.uint8)
    for band, name in enumerate(("B02", "B03", "B04", "B08", "B11")):
        tifffile.imwrite(tmp_path / f"{name}.tif", image[:, :, band])
    source = open_source(f"tiff:{tmp_path}")
    np.testing.assert_array_equal(whole(source), pixels(image))
    assert source.feature_names == ("B02", "B03", "B04", "B08", "B11")
    assert about_of(source).row_image == (3, 4)
    tifffile.imwrite(tmp_path / "B12.tif", np.ones((3, 4, 2)), photometric="minisblack", planarconfig="contig")
    assert open_source(f"tiff:{tmp_path}").feature_names[-2:] == ("B12 0", "B12 1")
    tifffile.imwrite(tmp_path / "B03.tif", image[:2, :, 0])
    with pytest.raises(SourceError, match=r"B02 is 3 × 4 and B03 is 2 × 4; bands of one image"):
        open_source(f"tiff:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no TIFF files"):
        open_source(f"tiff:{tmp_path / 'empty'}")


def test_damaged_tiffs(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", cube(), photometric="minisblack")
    stored = (tmp_path / "x.tif").read_bytes()
    for content in (b"", b"II*\0", b"nonsense" * 9, stored[:100]):
        (tmp_path / "x.tif").write_bytes(content)
        with pytest.raises(SourceError, match=r"x\.tif"):
            whole(open_source(tmp_path / "x.tif"))


def test_directories_that_go_in_circles(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", cube(), photometric="minisblack", planarconfig="contig")
    stored = bytearray((tmp_path / "x.tif").read_bytes())
    first = int.from_bytes(stored[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(stored[first : first + 2], "little")
    for offset, why in ((first, "go in circles"), (2**31, "outside the file")):
        stored[after : after + 4] = offset.to_bytes(4, "little")
        (tmp_path / "x.tif").write_bytes(stored)
        with pytest.raises(SourceError, match=rf"x\.tif is damaged.*{why}"):
            open_source(tmp_path / "x.tif")


# --- pictures -----------------------------------------------------------------------------------------------


def faces(folder, count=6, suffix=".png"):
    for i in range(count):
        (folder / f"s{i // 3}").mkdir(exist_ok=True)
        Image.fromarray((cube(5, 4, count)[:, :, i]).astype(np.uint8)).save(folder / f"s{i // 3}" / f"{i}{suffix}")


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".bmp", ".tif"])
def test_a_folder_of_pictures(tmp_path, suffix):
    faces(tmp_path, suffix=suffix)
    (tmp_path / "README.txt").write_text("faces")
    source = open_source(f"images:{tmp_path}")
    np.testing.assert_array_equal(whole(source), pixels(cube(5, 4, 6)).T)
    assert source.row_names[:4] == (f"s0/0{suffix}", f"s0/1{suffix}", f"s0/2{suffix}", f"s1/3{suffix}")
    assert about_of(source) == About(feature_image=(5, 4))


def test_colours_become_grey(tmp_path):
    Image.new("RGB", (3, 2), (255, 255, 255)).save(tmp_path / "a.png")
    Image.new("RGB", (3, 2), (0, 0, 0)).save(tmp_path / "b.jpg")
    Image.new("RGBA", (3, 2), (255, 255, 255, 0)).save(tmp_path / "c.png")
    Image.new("1", (3, 2), 1).save(tmp_path / "d.png")
    assert whole(open_source(f"images:{tmp_path}")).mean(axis=1).tolist() == [255, 0, 255, 255]


def test_pictures_that_do_not_fit(tmp_path):
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(f"images:{tmp_path}")
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    with pytest.raises(SourceError, match="is no folder"):
        open_source(f"images:{tmp_path / 'a.png'}")
    Image.new("L", (2, 3)).save(tmp_path / "b.png")
    with pytest.raises(SourceError, match=r"one size: a\.png has 2×3, and b\.png has 3×2"):
        open_source(f"images:{tmp_path}")
    Image.fromarray(np.zeros((2, 3), np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(SourceError, match=r"one type of number: a\.png has uint8, and b\.png has uint16"):
        open_source(f"images:{tmp_path}")
    (tmp_path / "b.png").write_bytes(b"GIF89a" + bytes(30))
    with pytest.raises(SourceError, match=r"b\.png is no readable PNG picture"):
        open_source(f"images:{tmp_path}")
    Image.effect_noise((99, 99), 9).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-500])
    with pytest.raises(SourceError, match=r"b\.png"):
        open_source(f"images:{tmp_path}")


def test_links_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "secret.png")
    (tmp_path / "inside" / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(SourceError, match=r"a\.png is a link that leads out of"):
        open_source(f"images:{tmp_path / 'inside'}")
