"""fetch: verified, atomic, resumable, and no archive writes outside its folder."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from gim_cv.catalog import Source
from gim_cv.errors import DataError, MissingError
from gim_cv.sources import fetch_source


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fetch(tmp_path, **entry):
    source = Source(licence="CC0", **entry)
    fetch_source(source, tmp_path / "raw" / "s", name="s", tmp_dir=tmp_path / "tmp")
    return tmp_path / "raw" / "s"


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("deep/image.tif", b"pixels")
        bundle.writestr("labels.shp", b"shapes")
    return path


def test_members_are_taken_out_under_their_new_names(tmp_path, archive):
    out = fetch(
        tmp_path,
        url=f"file:{archive}",
        files={"image.tif": {"member": "deep/image.tif", "sha256": sha(b"pixels")}},
    )
    assert [p.name for p in out.iterdir()] == ["image.tif"]
    assert (out / "image.tif").read_bytes() == b"pixels"


def test_a_whole_archive_or_folder_is_taken(tmp_path, archive):
    out = fetch(tmp_path, url=f"file:{archive}", sha256=sha(archive.read_bytes()))
    assert (out / "deep" / "image.tif").read_bytes() == b"pixels"
    again = fetch(tmp_path, url=f"file:{out.rename(tmp_path / 'folder')}")
    assert (again / "labels.shp").read_bytes() == b"shapes"


def test_a_checksum_mismatch_leaves_nothing(tmp_path, archive):
    entry = {"image.tif": {"member": "deep/image.tif", "sha256": "0" * 64}}
    with pytest.raises(DataError, match="checksum mismatch; expected sha256 000"):
        fetch(tmp_path, url=f"file:{archive}", files=entry)
    assert not (tmp_path / "raw" / "s").exists()


def test_a_failed_fetch_keeps_what_was_there(tmp_path, archive):
    out = fetch(tmp_path, url=f"file:{archive}", sha256=sha(archive.read_bytes()))
    with pytest.raises(DataError):
        fetch(tmp_path, url=f"file:{archive}", sha256="0" * 64)
    assert (out / "labels.shp").exists()
    assert archive.exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/abs/evil.txt", "a/../../evil.txt"])
def test_a_zip_whose_paths_leave_the_folder_is_refused(tmp_path, name):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(name, b"x")
    with pytest.raises(DataError, match="leaves the folder"):
        fetch(tmp_path, url=f"file:{path}", sha256=sha(path.read_bytes()))
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_tar_whose_link_leaves_the_folder_is_refused(tmp_path):
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as bundle:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        bundle.addfile(link)
    with pytest.raises(DataError, match="unsafe archive"):
        fetch(tmp_path, url=f"file:{path}", sha256=sha(path.read_bytes()))


def test_a_member_that_is_not_there_is_named(tmp_path, archive):
    entry = {"x": {"member": "none.tif", "sha256": "0" * 64}}
    with pytest.raises(MissingError, match=r"no member 'none\.tif'"):
        fetch(tmp_path, url=f"file:{archive}", files=entry)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingError, match="no such file"):
        fetch(tmp_path, url=f"file:{tmp_path / 'none'}")


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Serves byte ranges, and says which were asked for."""

    asked: list[str | None] = []  # noqa: RUF012

    def log_message(self, *args):
        """Keep the test's output clean."""

    def send_head(self):
        asked = self.headers.get("Range")
        self.asked.append(asked)
        with open(self.translate_path(self.path), "rb") as stream:  # noqa: PTH123
            data = stream.read()
        first, _, last = (asked or f"bytes=0-{len(data) - 1}").removeprefix("bytes=").partition("-")
        piece = data[int(first) : int(last or len(data) - 1) + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(piece)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        return io.BytesIO(piece)


@pytest.fixture
def server(tmp_path):
    Ranged.asked.clear()
    served = tmp_path / "served"
    served.mkdir()
    handler = functools.partial(Ranged, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as here:
        thread = threading.Thread(target=here.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{here.server_address[1]}"
        here.shutdown()
        thread.join()


def test_an_interrupted_download_continues(tmp_path, server):
    served, url = server
    data = bytes(range(256)) * 40_000
    (served / "big.tif").write_bytes(data)
    address = f"{url}/big.tif"
    folder = tmp_path / "tmp" / "downloads" / "s"
    folder.mkdir(parents=True)
    part = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-big.tif.part"
    part.write_bytes(data[:9_000_000])
    out = fetch(tmp_path, url=address, sha256=sha(data))
    assert (out / "big.tif").read_bytes() == data
    starts = [int(r.removeprefix("bytes=").split("-")[0]) for r in Ranged.asked if r]
    assert max(starts, default=0) >= 9_000_000
    assert not folder.exists()


def test_several_urls_are_fetched_together(tmp_path, server):
    served, url = server
    names = ["a.tif", "b.tif", "c.tif"]
    for name in names:
        (served / name).write_bytes(name.encode())
    out = fetch(
        tmp_path,
        files={n: {"url": f"{url}/{n}", "sha256": sha(n.encode())} for n in names},
    )
    assert sorted(p.name for p in out.iterdir()) == names


def test_a_dead_url_is_one_clear_error(tmp_path, server):
    _, url = server
    with pytest.raises(MissingError, match="cannot be downloaded"):
        fetch(tmp_path, url=f"{url}/none.tif", sha256="0" * 64)
