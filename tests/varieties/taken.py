"""Kinds of input that become patches."""

import geopandas
import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from affine import Affine
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from shapely import Polygon, affinity, box

from varieties.making import GRID, LEFT, SIDE, TOP, UTM, good, mask, pixels, plain, roofs, write_tif

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


@good("label raster of 0 and 255, mask_values as a mapping")
def _(scene):
    scene.image()
    scene.raster_labels(mask(255))
    scene.pair["mask_values"] = {0: 0, 255: 1}


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


@good("splits drawn by hand (split_areas)")
def _(scene):
    plain(scene)
    west, east = box(LEFT, TOP - 48, LEFT + 24, TOP), box(LEFT + 24, TOP - 48, LEFT + 48, TOP)
    areas = geopandas.GeoDataFrame({"split": ["train", "test"]}, geometry=[west, east], crs=UTM)
    areas.to_crs("EPSG:4326").to_file(scene.folder / "areas.geojson")
    scene.pair["split_areas"] = "areas.geojson"


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
