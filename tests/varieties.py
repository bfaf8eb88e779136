"""Every kind of input that a team may have, good and bad, made small; docs/inputs.md runs it."""

import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from affine import Affine
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from scipy import ndimage
from shapely import Polygon, affinity, box

from gim_cv.catalog import Pair, Source
from gim_cv.errors import GimError
from gim_cv.ground import GroundSplit
from gim_cv.pairs import stream_pair
from gim_cv.sources import fetch_source
from gim_cv.store import open_store, write_store

SIDE = 96
UTM = "EPSG:32633"
LEFT, TOP, STEP = 500_000.0, 4_000_000.0, 0.5
GRID = from_origin(LEFT, TOP, STEP, STEP)


def pixels(bands: int = 3, dtype: str = "uint8", side: int = SIDE) -> np.ndarray:
    """An image (bands, side, side) with texture, within the range of its type, never 0."""
    rng = np.random.default_rng(7)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (bands, side, side)), (0, 2, 2))
    unit = 0.1 + 0.8 * (smooth - smooth.min()) / np.ptp(smooth)
    top = {"uint8": 255, "uint16": 4000, "int16": 4000, "float32": 1}[dtype]
    return (unit * top).astype(dtype)


def roofs(crs: str = UTM) -> geopandas.GeoDataFrame:
    """Three buildings, of which one is a class of its own, in any CRS."""
    shapes = [
        box(LEFT + x, TOP - y - 8, LEFT + x + 10, TOP - y) for x, y in ((4, 4), (24, 6), (8, 28))
    ]
    table = {"kind": ["house", "house", "barn"]}
    return geopandas.GeoDataFrame(table, geometry=shapes, crs=UTM).to_crs(crs)


def mask(value: int = 1) -> np.ndarray:
    """The roofs as a raster (SIDE, SIDE), uint8."""
    shapes = [(g, value) for g in roofs().geometry]
    return rasterio.features.rasterize(shapes, (SIDE, SIDE), transform=GRID, all_touched=True)


def write_tif(
    path: Path, data: np.ndarray, transform: Affine = GRID, crs: str | None = UTM, **more
):
    """Write (bands, h, w) as a GeoTIFF."""
    bands, height, width = data.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width} | more
    grid = {} if transform.is_identity else {"transform": transform}
    with rasterio.open(path, "w", dtype=data.dtype, crs=crs, **profile, **grid) as sink:
        sink.write(data)


@dataclass
class Scene:
    """A folder with image and labels in it, and the catalog entry that names them."""

    folder: Path
    pair: dict[str, Any] = field(default_factory=dict)
    prepare: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] | None = None

    def image(self, data: np.ndarray | None = None, *, name="image.tif", **options) -> None:
        write_tif(self.folder / name, pixels() if data is None else data, **options)
        self.pair["image"] = name

    def labels(self, table: geopandas.GeoDataFrame | None = None, name="labels.geojson") -> None:
        (roofs() if table is None else table).to_file(self.folder / name)
        self.pair["labels"] = name

    def raster_labels(self, data: np.ndarray | None = None, **options) -> None:
        write_tif(self.folder / "mask.tif", (mask() if data is None else data)[None], **options)
        self.pair["labels"] = "mask.tif"


Make = Callable[[Scene], None]
GOOD: dict[str, Make] = {}
BAD: dict[str, Make] = {}


def good(title: str) -> Callable[[Make], Make]:
    """Register a kind of input that becomes patches."""

    def keep(make: Make) -> Make:
        GOOD[title] = make
        return make

    return keep


def bad(title: str) -> Callable[[Make], Make]:
    """Register a kind of input that is refused."""

    def keep(make: Make) -> Make:
        BAD[title] = make
        return make

    return keep


def plain(scene: Scene) -> None:
    """A GeoTIFF and a GeoJSON."""
    scene.image()
    scene.labels()


# --- what is taken ------------------------------------------------------------------------------

good("GeoTIFF, uint8 RGB + GeoJSON")(plain)


@good("cloud-optimised GeoTIFF")
def _(scene):
    scene.image(driver="COG", compress="deflate")
    scene.labels()


@good("JPEG 2000")
def _(scene):
    scene.image(name="image.JP2", driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    scene.labels()


@good("VRT")
def _(scene):
    plain(scene)
    with rasterio.open(scene.folder / "image.tif") as image, WarpedVRT(image) as warped:
        rasterio.shutil.copy(warped, scene.folder / "image.vrt", driver="VRT")
    scene.pair["image"] = "image.vrt"


@good("labels in another CRS")
def _(scene):
    scene.image()
    scene.labels(roofs("EPSG:4326"))


@good("shapefile with its sidecars")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")


@good("shapefile with upper-case extensions")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")
    for path in scene.folder.glob("labels.*"):
        path.rename(path.with_name(path.name.upper()))
    scene.pair["labels"] = "LABELS.SHP"


@good("GeoPackage, layer chosen")
def _(scene):
    scene.image()
    roofs().to_file(scene.folder / "labels.gpkg", layer="other")
    roofs().to_file(scene.folder / "labels.gpkg", layer="roofs")
    scene.pair |= {"labels": "labels.gpkg", "layer": "roofs"}


@good("FlatGeobuf")
def _(scene):
    scene.image()
    scene.labels(name="labels.fgb")


@good("GeoParquet")
def _(scene):
    scene.image()
    roofs().to_parquet(scene.folder / "labels.parquet")
    scene.pair["labels"] = "labels.parquet"


@good("label raster of 0 and 1")
def _(scene):
    scene.image()
    scene.raster_labels()


@good("label raster of 0 and 255, mask_values")
def _(scene):
    scene.image()
    scene.raster_labels(mask(255))
    scene.pair["mask_values"] = [{"value": 0, "id": 0}, {"value": 255, "id": 1}]


@good("RGB label raster, mask_values")
def _(scene):
    scene.image()
    rgb = np.stack([mask(255), mask(0), mask(0)])
    write_tif(scene.folder / "mask.tif", rgb)
    scene.pair |= {
        "labels": "mask.tif",
        "mask_values": [{"value": [0, 0, 0], "id": 0}, {"value": [255, 0, 0], "id": 1}],
    }


@good("label raster with ignore_values")
def _(scene):
    scene.image()
    data = mask()
    data[:20] = 9
    scene.raster_labels(data)
    scene.pair["ignore_values"] = [9]


@good("label raster that covers half of the image")
def _(scene):
    scene.image()
    scene.raster_labels(mask()[:, : SIDE // 2])


@good("label raster of half the resolution")
def _(scene):
    scene.image()
    scene.raster_labels(mask()[::2, ::2], transform=from_origin(LEFT, TOP, 1, 1))


@good("several classes by attribute")
def _(scene):
    plain(scene)
    scene.pair |= {
        "class_attribute": "kind",
        "classes": {"house": 1, "barn": 2},
        "class_names": ["other", "house", "barn"],
    }


@good("polygons chosen by an attribute filter")
def _(scene):
    plain(scene)
    scene.pair["where"] = "kind = 'house'"


@good("polygons grown by buffer_m")
def _(scene):
    plain(scene)
    scene.pair["buffer_m"] = 1.0


@good("self-intersecting polygon")
def _(scene):
    scene.image()
    bow = Polygon([(0, 0), (8, 8), (8, 0), (0, 8)])
    table = roofs()
    table.loc[0, "geometry"] = affinity.translate(bow, LEFT + 4, TOP - 20)
    scene.labels(table)


@good("labelled area (aoi)")
def _(scene):
    plain(scene)
    area = geopandas.GeoDataFrame(geometry=[box(LEFT, TOP - 30, LEFT + 30, TOP)], crs=UTM)
    area.to_crs("EPSG:4326").to_file(scene.folder / "aoi.geojson")
    scene.pair["aoi"] = "aoi.geojson"


@good("label raster without a single building")
def _(scene):
    scene.image()
    scene.raster_labels(mask() * 0)


@good("single band, uint16")
def _(scene):
    scene.image(pixels(1, "uint16"))
    scene.labels()


@good("13 bands, int16")
def _(scene):
    scene.image(pixels(13, "int16"))
    scene.labels()


@good("float32 with NaN where there is no image")
def _(scene):
    data = pixels(3, "float32")
    data[:, :, :10] = np.nan
    scene.image(data)
    scene.labels()


@good("bands chosen by number")
def _(scene):
    scene.image(pixels(4))
    scene.labels()
    scene.pair["bands"] = [3, 2, 1]


@good("single-band files in a list")
def _(scene):
    for n, band in enumerate(pixels(3)):
        write_tif(scene.folder / f"b{n}.tif", band[None])
    scene.labels()
    scene.pair["image"] = ["b0.tif", "b1.tif", "b2.tif"]


@good("nodata declared in the file")
def _(scene):
    data = pixels()
    data[:, :, :10] = 0
    scene.image(data, nodata=0)
    scene.labels()


@good("nodata named in the catalog")
def _(scene):
    data = pixels()
    data[:, :, :10] = 255
    scene.image(data)
    scene.labels()
    scene.pair["nodata"] = 255


@good("internal mask")
def _(scene):
    plain(scene)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(scene.folder / "image.tif", "r+") as sink,
    ):
        keep = np.full((SIDE, SIDE), 255, np.uint8)
        keep[:, :10] = 0
        sink.write_mask(keep)


@good("alpha band")
def _(scene):
    alpha = np.full((1, SIDE, SIDE), 255, np.uint8)
    alpha[:, :, :10] = 0
    scene.image(np.concatenate([pixels(), alpha]), photometric="RGB", alpha="YES")
    scene.labels()


@good("geographic CRS")
def _(scene):
    degrees = from_origin(15.0, 36.1, 5.5e-6, 4.5e-6)
    scene.image(transform=degrees, crs="EPSG:4326")
    shapes = [box(15.00005, 36.0997, 15.0002, 36.0999)]
    scene.labels(geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:4326"))


@good("Web Mercator, where a metre on the map is not one on the ground")
def _(scene):
    scene.image(transform=from_origin(1_669_000, 4_300_000, 0.6, 0.6), crs="EPSG:3857")
    shapes = [box(1_669_010, 4_299_960, 1_669_030, 4_299_990)]
    scene.labels(geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:3857"))


@good("rotated geotransform")
def _(scene):
    scene.image(transform=GRID * Affine.rotation(20))
    scene.labels()


@good("resampled to 0.8 m")
def _(scene):
    plain(scene)
    scene.prepare["resolution_m"] = 0.8


@good("resampled to 0.3 m")
def _(scene):
    plain(scene)
    scene.prepare["resolution_m"] = 0.3


@good("non-square pixels, resampled")
def _(scene):
    scene.image(transform=from_origin(LEFT, TOP, 0.5, 0.4))
    scene.labels()
    scene.prepare["resolution_m"] = 0.5


@good("raster smaller than a patch")
def _(scene):
    scene.image(pixels(side=24))
    scene.labels()


@good("bounds: a window of the image")
def _(scene):
    plain(scene)
    scene.pair["bounds"] = [LEFT, TOP - 32, LEFT + 32, TOP]


@good("image without CRS, image_crs given")
def _(scene):
    scene.image(crs=None)
    scene.labels()
    scene.pair["image_crs"] = UTM


@good("shapefile without .prj, labels_crs given")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")
    (scene.folder / "labels.prj").unlink()
    scene.pair["labels_crs"] = UTM


# --- what is refused ----------------------------------------------------------------------------


@bad("image is missing")
def _(scene):
    plain(scene)
    (scene.folder / "image.tif").unlink()


@bad("labels are missing")
def _(scene):
    plain(scene)
    (scene.folder / "labels.geojson").unlink()


@bad("truncated TIFF")
def _(scene):
    plain(scene)
    path = scene.folder / "image.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@bad("file that is no raster")
def _(scene):
    plain(scene)
    (scene.folder / "image.tif").write_text("<html>404</html>")


@bad("shapefile without .dbf, classes by attribute")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")
    (scene.folder / "labels.dbf").unlink()
    scene.pair |= {
        "class_attribute": "kind",
        "classes": {"house": 1, "barn": 2},
        "class_names": ["other", "house", "barn"],
    }


@bad("shapefile without .prj")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")
    (scene.folder / "labels.prj").unlink()


@bad("image without CRS")
def _(scene):
    scene.image(crs=None)
    scene.labels()


@bad("image without geotransform")
def _(scene):
    scene.image(transform=Affine.identity())
    scene.labels()


@bad("labels elsewhere")
def _(scene):
    scene.image()
    table = roofs()
    table["geometry"] = table.translate(5000, 0)
    scene.labels(table)


@bad("labels with swapped axes")
def _(scene):
    scene.image()
    table = roofs("EPSG:4326")
    table["geometry"] = [Polygon([(y, x) for x, y in g.exterior.coords]) for g in table.geometry]
    scene.labels(table)


@bad("empty layer")
def _(scene):
    scene.image()
    scene.labels(roofs().iloc[:0], name="labels.gpkg")


@bad("layer that does not exist")
def _(scene):
    scene.image()
    scene.labels(name="labels.gpkg")
    scene.pair["layer"] = "rofs"


@bad("attribute filter that is no SQL")
def _(scene):
    plain(scene)
    scene.pair["where"] = "kind ="


@bad("attribute filter that keeps nothing")
def _(scene):
    plain(scene)
    scene.pair["where"] = "kind = 'castle'"


@bad("class attribute that does not exist")
def _(scene):
    plain(scene)
    scene.pair |= {"class_attribute": "kin", "classes": {"house": 1}}


@bad("class that the catalog does not name")
def _(scene):
    plain(scene)
    scene.pair |= {"class_attribute": "kind", "classes": {"house": 1}}


@bad("label raster with a value that stands for no class")
def _(scene):
    scene.image()
    scene.raster_labels(mask(7))


@bad("label raster elsewhere")
def _(scene):
    scene.image()
    scene.raster_labels(transform=from_origin(LEFT + 5000, TOP, STEP, STEP))


@bad("label raster of other size, without georeference")
def _(scene):
    scene.image()
    scene.raster_labels(mask()[:50, :50], transform=Affine.identity(), crs=None)


@bad("points instead of polygons")
def _(scene):
    scene.image()
    table = roofs()
    table["geometry"] = table.centroid
    scene.labels(table)


@bad("image that is nodata everywhere")
def _(scene):
    scene.image(np.zeros((3, SIDE, SIDE), np.uint8), nodata=0)
    scene.labels()


@bad("image of one value")
def _(scene):
    scene.image(np.full((3, SIDE, SIDE), 80, np.uint8))
    scene.labels()


@bad("band that does not exist")
def _(scene):
    plain(scene)
    scene.pair["bands"] = [1, 2, 5]


@bad("band name that does not exist")
def _(scene):
    plain(scene)
    scene.pair["bands"] = ["nir"]


@bad("single-band files of different size")
def _(scene):
    write_tif(scene.folder / "b0.tif", pixels(1))
    write_tif(scene.folder / "b1.tif", pixels(1, side=80))
    scene.labels()
    scene.pair["image"] = ["b0.tif", "b1.tif"]


@bad("single-band files of different type")
def _(scene):
    write_tif(scene.folder / "b0.tif", pixels(1))
    write_tif(scene.folder / "b1.tif", pixels(1, "float32"))
    scene.labels()
    scene.pair["image"] = ["b0.tif", "b1.tif"]


@bad("non-square pixels at native resolution")
def _(scene):
    scene.image(transform=from_origin(LEFT, TOP, 0.5, 0.4))
    scene.labels()


@bad("complex pixels")
def _(scene):
    scene.image(pixels().astype("complex64"))
    scene.labels()


@bad("bounds beside the image")
def _(scene):
    plain(scene)
    scene.pair["bounds"] = [0, 0, 100, 100]


@bad("CRS that no one knows")
def _(scene):
    scene.image(crs=None)
    scene.labels()
    scene.pair["image_crs"] = "EPSG:999999"


@bad("archive with a path that leaves its folder")
def _(scene):
    with zipfile.ZipFile(scene.folder / "data.zip", "w") as bundle:
        bundle.writestr("../evil.txt", "x")
    scene.source = {"url": f"file:{scene.folder / 'data.zip'}"}


@bad("archive with a link that leaves its folder")
def _(scene):
    with tarfile.open(scene.folder / "data.tar", "w") as bundle:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        bundle.addfile(link)
    scene.source = {"url": f"file:{scene.folder / 'data.tar'}"}


@bad("checksum mismatch")
def _(scene):
    (scene.folder / "data.bin").write_bytes(b"changed")
    scene.source = {"url": f"file:{scene.folder / 'data.bin'}", "sha256": "0" * 64}


# --- what happens -------------------------------------------------------------------------------

PREPARE = {
    "patch_px": 32,
    "overlap": 0.0,
    "resolution_m": 0.0,
    "resampling": "bilinear",
    "mask_fraction": 0.1,
    "all_touched": True,
    "min_valid": 0.3,
    "min_labelled": 0.3,
}
SPLIT = {"mode": "pairs", "block_m": 32.0, "fractions": (0.7, 0.2, 0.1)}
SPLIT |= {"seed": 0, "buffer_m": 0.0, "folds": 0, "fold": 0}


def outcome(make: Make, folder: Path) -> str:
    """What preparing the scene gives: what the store holds, or the error's exact words."""
    raw = folder / "raw"
    scene = Scene(raw / "s")
    scene.folder.mkdir(parents=True)
    make(scene)
    try:
        return _take(scene, folder)
    except GimError as err:
        return str(err).replace(f"{raw / 's'}/", "").replace(f"{folder}/", "")


def _take(scene: Scene, folder: Path) -> str:
    if scene.source is not None:
        source = Source(licence="CC0", **scene.source)
        fetch_source(source, folder / "out", name="s", tmp_dir=folder / "tmp")
    pair = Pair(name="p", source="s", **scene.pair)
    split = GroundSplit(**SPLIT)
    patches = stream_pair(
        pair, folder / "raw", split=split, progress=None, **(PREPARE | scene.prepare)
    )
    write_store(patches, folder / "p.zarr", recipe={}, tmp_dir=folder / "tmp")
    return describe(open_store(folder / "p.zarr"))


def describe(store) -> str:
    """One line on what a store holds."""
    image, counts = store["image"], store["class_pixels"].to_numpy().sum(axis=0)
    pixels = store["mask"].size
    shares = [
        f"{name} {100 * n / pixels:.0f} %"
        for name, n in zip(store.attrs["classes"], counts.tolist(), strict=True)
    ]
    ignored = f"ignored {100 * (1 - counts.sum() / pixels):.0f} %"
    return f"{store.sizes['patch']} patches, {store.sizes['band']} × {image.dtype}: " + ", ".join(
        [*shares, ignored]
    )
