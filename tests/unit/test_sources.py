"""fetch: verified, atomic, resumable, and no archive writes outside its folder."""

import functools
import hashlib
import http.server
import io
import re
import subprocess
import tarfile
import threading
import zipfile

import pytest

from gim_cv import sources
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


BIG = bytes(range(256)) * 40_000


def begun(tmp_path, served, address):
    """Serve a big file, of which an interrupted fetch has left a part; return the part's folder."""
    (served / "big.tif").write_bytes(BIG)
    folder = tmp_path / "tmp" / "downloads" / "s"
    folder.mkdir(parents=True)
    part = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-big.tif.part"
    part.write_bytes(BIG[:9_000_000])
    return folder


def test_an_interrupted_download_continues(tmp_path, server):
    served, url = server
    folder = begun(tmp_path, served, f"{url}/big.tif")
    out = fetch(tmp_path, url=f"{url}/big.tif", sha256=sha(BIG))
    assert (out / "big.tif").read_bytes() == BIG
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


def test_a_tar_of_a_folder_s_own_dot_is_unpacked(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "image.tif").write_bytes(b"pixels")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as bundle:
        bundle.add(folder, ".")
    out = fetch(tmp_path, url=f"file:{tmp_path / 'a.tar.gz'}")
    assert (out / "image.tif").read_bytes() == b"pixels"


def damaged(tmp_path, kind):
    """An archive with one byte changed or its end missing."""
    path = tmp_path / {"zip": "a.zip", "cut": "b.zip", "tar": "a.tar.gz"}[kind]
    data = bytes(range(256)) * 99
    if kind == "tar":
        with tarfile.open(path, "w:gz") as bundle:
            item = tarfile.TarInfo("image.tif")
            item.size = len(data)
            bundle.addfile(item, io.BytesIO(data))
        path.write_bytes(path.read_bytes()[:-200])
    else:
        with zipfile.ZipFile(path, "w") as bundle:
            bundle.writestr("image.tif", data)
        raw = bytearray(path.read_bytes())
        raw[99] ^= 255
        path.write_bytes(raw if kind == "zip" else raw[:-30])
    return path


@pytest.mark.parametrize("kind", ["zip", "cut", "tar"])
def test_a_damaged_archive_is_one_clear_error(tmp_path, kind):
    path = damaged(tmp_path, kind)
    member = {"x.tif": {"member": "image.tif", "sha256": "0" * 64}}
    for files in ({}, member):
        with pytest.raises(DataError, match=rf"{re.escape(str(path))}: .*archive.*again"):
            fetch(tmp_path, url=f"file:{path}", files=files)


def test_files_of_a_folder_are_named_by_member(tmp_path, archive):
    entry = {"a.zip": {"member": archive.name, "sha256": sha(archive.read_bytes())}}
    out = fetch(tmp_path, url=f"file:{tmp_path}", files=entry)
    assert (out / "a.zip").read_bytes() == archive.read_bytes()
    with pytest.raises(DataError, match=r"the url is a folder\. Say by `member`"):
        fetch(tmp_path, url=f"file:{tmp_path}", files={"a.zip": {"sha256": "0" * 64}})
    with pytest.raises(MissingError, match=r"no file 'none'"):
        fetch(tmp_path, url=f"file:{tmp_path}", files={"x": {"member": "none", "sha256": "0" * 64}})
    with pytest.raises(DataError, match="a folder has no sha256"):
        fetch(tmp_path, url=f"file:{tmp_path}", sha256="0" * 64)


def test_a_wrong_download_is_got_again(tmp_path, server):
    served, url = server
    files = {"a.tif": {"url": f"{url}/a.tif", "sha256": sha(b"right")}}
    (served / "a.tif").write_bytes(b"wrong")
    with pytest.raises(DataError, match="checksum mismatch"):
        fetch(tmp_path, files=files)
    (served / "a.tif").write_bytes(b"right")
    assert (fetch(tmp_path, files=files) / "a.tif").read_bytes() == b"right"


class Plain(http.server.SimpleHTTPRequestHandler):
    """A server without byte ranges, of which one address is forbidden and one breaks off."""

    def log_message(self, *args):
        """Keep the test's output clean."""

    def do_GET(self):
        if self.path == "/forbidden.tif":
            self.send_error(403)
        elif self.path == "/short.tif":
            self.send_response(200)
            self.send_header("Content-Length", "9000")
            self.end_headers()
            self.wfile.write(b"too little")
        else:
            super().do_GET()


@pytest.fixture
def plain_server(tmp_path):
    handler = functools.partial(Plain, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as here:
        thread = threading.Thread(target=here.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{here.server_address[1]}"
        here.shutdown()
        thread.join()


def test_a_server_without_ranges_is_read_from_the_beginning(tmp_path, plain_server):
    begun(tmp_path, tmp_path, f"{plain_server}/big.tif")
    out = fetch(tmp_path, url=f"{plain_server}/big.tif", sha256=sha(BIG))
    assert (out / "big.tif").read_bytes() == BIG


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("SERVER/forbidden.tif", "403"),
        ("SERVER/short.tif", "Not enough data"),
        ("foo://x/y", "Protocol not known"),
    ],
)
def test_what_keeps_a_download_from_coming_is_said(tmp_path, plain_server, url, why):
    with pytest.raises(MissingError, match=rf"cannot be downloaded \(.*{why}") as caught:
        fetch(tmp_path, url=url.replace("SERVER", plain_server), sha256="0" * 64)
    assert "\n" not in str(caught.value)


def test_each_wheel_gives_its_own_members(tmp_path, monkeypatch):
    def pip(command, **_options):
        name, folder = command[-1].split("==")[0], command[command.index("--dest") + 1]
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(f"{folder}/{name}.whl", "w") as bundle:
            bundle.writestr("data.txt", name)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(sources.subprocess, "run", pip)
    files = {
        f"{name}.txt": {
            "url": f"pypi:{name}==1",
            "member": "data.txt",
            "sha256": sha(name.encode()),
        }
        for name in ("one", "two")
    }
    out = fetch(tmp_path, files=files)
    assert [(out / f"{name}.txt").read_text() for name in ("one", "two")] == ["one", "two"]
