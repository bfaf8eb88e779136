"""Bring declared raw data to disk: downloaded, verified, extracted, then renamed into place."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gim_cv.catalog import Source, SourceFile
from gim_cv.errors import DataError, MissingError, RunError

CHUNK_BYTES = 1 << 20
PARALLEL = 4
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,
)
"""What reading a damaged, cut or encrypted archive raises."""
Tick = Callable[[int], None]


def fetch_source(source: Source, out: Path, *, name: str, tmp_dir: Path) -> None:
    """Leave every file of a source, verified, in the folder `out`.

    Downloads are kept under `tmp_dir` until `out` is complete, so that an interrupted fetch
    continues where it stopped. `out` appears by one rename, or not at all.

    Parameters
    ----------
    source
        The catalog's entry.
    out
        The folder to make; an old one is replaced.
    name
        The source's name, for messages.
    tmp_dir
        Scratch folder on the same file system as `out`.

    Raises
    ------
    MissingError
        A url, wheel or archive member does not exist.
    DataError
        Bytes differ from the declared sha256, or an archive's path leaves the folder.
    """
    downloads = tmp_dir / "downloads" / name
    staged = tmp_dir / f"{name}.fetch"
    shutil.rmtree(staged, ignore_errors=True)
    downloads.mkdir(parents=True, exist_ok=True)
    staged.mkdir(parents=True)
    urls = sorted(
        {str(file.url or source.url) for file in source.files.values()} or {str(source.url)}
    )
    with _progress() as bar, ThreadPoolExecutor(PARALLEL) as pool:
        jobs = [(url, pool.submit(_download, url, downloads, _track(bar, url))) for url in urls]
        local = {url: job.result() for url, job in jobs}
    if source.url and source.sha256:
        with _distrusted(local[source.url], source.url):
            _verify(local[source.url], source.sha256, source.url)
    for target, file in sorted(source.files.items()):
        url = str(file.url or source.url)
        with _distrusted(local[url], url):
            _place(local[url], file, _inside(staged, target, url), url)
    if not source.files:
        with _distrusted(local[str(source.url)], str(source.url)):
            _unpack(local[str(source.url)], staged, str(source.url))
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(out)
    shutil.rmtree(downloads)


@contextmanager
def _distrusted(local: Path, url: str) -> Iterator[None]:
    """Remove a download that turns out to be wrong, so that the next fetch gets it again."""
    try:
        yield
    except DataError:
        if not url.startswith("file:"):
            local.unlink(missing_ok=True)
        raise


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TransferSpeedColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        yield bar


def _track(bar: Progress, url: str) -> Tick:
    task = bar.add_task(PurePosixPath(url).name, total=None)
    return lambda count: bar.update(task, advance=count)


def _download(url: str, folder: Path, tick: Tick) -> Path:
    """Return the local copy of what `url` names, continuing a partial one."""
    scheme, _, rest = url.partition(":")
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    if scheme == "pypi":
        return _download_wheel(rest, folder / f"{key}-wheel")
    if scheme == "file":
        path = Path(rest.removeprefix("//"))
        if not path.exists():
            raise MissingError("no such file", path=path, remedy="Mend the source's url")
        return path
    target = folder / f"{key}-{PurePosixPath(rest).name}"
    if not target.exists():
        part = target.with_name(target.name + ".part")
        _continue_download(url, part, tick)
        part.replace(target)
    return target


def _continue_download(url: str, part: Path, tick: Tick) -> None:
    try:
        try:
            _append(url, part, tick)
        except ValueError as err:
            if "range requests" not in str(err):
                raise
            part.unlink()  # such a server gives a file from its beginning only, in one stream
            _append(url, part, tick, block_size=0)
    except Exception as err:  # each of fsspec's file systems has errors of its own
        reason = err.__cause__ or err  # what fsspec calls "not found" may be "forbidden"
        raise MissingError(
            f"cannot be downloaded ({type(reason).__name__}: {' '.join(str(reason).split())})",
            path=url,
            remedy="Check the url and the network, then run again: the download continues",
        ) from err


def _append(url: str, part: Path, tick: Tick, **options: int) -> None:
    """Write to `part` what it does not have yet of the file at `url`."""
    with fsspec.open(url, "rb", **options) as remote, part.open("ab") as local:
        have = local.tell()
        if have and remote.seekable():
            remote.seek(have)
            tick(have)
        elif have:
            local.truncate(0)
        _copy(remote, local, tick)


def _copy(source: IO[bytes], target: IO[bytes], tick: Tick) -> None:
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)
        tick(len(chunk))


def _download_wheel(requirement: str, folder: Path) -> Path:
    """Return a wheel of the package registry; pip is asked, so that its settings hold."""
    have = sorted(folder.glob("*.whl"))
    if have:
        return have[0]
    part = folder.with_name(f"{folder.name}.part")
    for stale in (part, folder):
        shutil.rmtree(stale, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(part), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingError(
            f"pip could not download it ({reason})",
            path=f"pypi:{requirement}",
            remedy="Check the network and that pip is installed beside gim_cv",
        )
    part.replace(folder)
    return min(folder.glob("*.whl"))


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(path: Path, expected: str, url: str) -> None:
    if path.is_dir():
        remedy = "Give a sha256 to each of its files instead, or to none"
        raise DataError("a folder has no sha256 of its own", path=url, remedy=remedy)
    found = sha256_of(path)
    if found != expected:
        raise DataError(
            "checksum mismatch",
            path=url,
            expected=f"sha256 {expected}",
            found=found,
            remedy="Fetch again; if it stays, the data has changed: check it, then declare the "
            "new sha256 in data/catalog.yaml",
        )


def _inside(folder: Path, member: str, url: str) -> Path:
    """Return where an archive's member goes, refusing paths that leave the folder."""
    target = (folder / member).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise DataError(
            f"the path {member!r} leaves the folder that it is extracted to",
            path=url,
            remedy="Do not use this archive, or repack it without '..' and absolute paths",
        )
    return target


def _place(local: Path, file: SourceFile, target: Path, url: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if local.is_dir():
        shutil.copyfile(_file_in(local, file.member, url), target)
    elif file.member is None:
        shutil.copyfile(local, target)
    else:
        with _open_member(local, file.member, url) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
    found = sha256_of(target)
    if found != file.sha256:
        where = f"{url}!{file.member}" if file.member else url
        raise DataError(
            "checksum mismatch",
            path=where,
            expected=f"sha256 {file.sha256}",
            found=found,
            remedy="Check the data, then declare its sha256 in data/catalog.yaml",
        )


def _file_in(folder: Path, member: str | None, url: str) -> Path:
    """Return a file of a folder that a source names, `member` relative to it."""
    if member is None:
        remedy = "Say by `member` which of its files, or leave `files` out"
        raise DataError("the url is a folder", path=url, remedy=remedy)
    path = _inside(folder, member, url)
    if not path.is_file():
        raise MissingError(f"no file {member!r}", path=url, remedy="List the folder")
    return path


@contextmanager
def _open_member(archive: Path, member: str, url: str) -> Iterator[IO[bytes]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle, bundle.open(member) as stream:
                yield stream
            return
        with tarfile.open(archive) as tar:
            found = tar.extractfile(member)
            if found is None:
                raise KeyError(member)
            with found as stream:
                yield stream
    except KeyError as err:
        raise MissingError(f"no member {member!r}", path=url, remedy="List the archive") from err
    except tarfile.ReadError as err:
        what = "not a zip or tar archive, or cut short"
        raise DataError(what, path=url, remedy="Drop 'member', or get the archive again") from err
    except BROKEN as err:
        raise _broken(err, url) from err


def _broken(err: Exception, url: str) -> DataError:
    """Return the error of an archive that cannot be read to its end."""
    reason = str(err) or type(err).__name__
    remedy = "Get it again; an encrypted one, unpack and give as a folder"
    return DataError(f"the archive cannot be read ({reason})", path=url, remedy=remedy)


def _unpack(local: Path, folder: Path, url: str) -> None:
    """Put all that `local` is (a folder, an archive, one file) under `folder`."""
    if local.is_dir():
        shutil.copytree(local, folder, dirs_exist_ok=True)
    elif not _extract(local, folder, url):
        name = PurePosixPath(url).name
        if name.lower().endswith(ARCHIVES):
            remedy = "Get it again: it is damaged or cut short"
            raise DataError("not an archive, by its content", path=url, remedy=remedy)
        shutil.copyfile(local, folder / name)
    if not any(folder.iterdir()):
        raise RunError("the source holds no file", path=url)


def _extract(local: Path, folder: Path, url: str) -> bool:
    """Extract an archive; return False, with nothing done, if it is none."""
    try:
        if zipfile.is_zipfile(local):
            with zipfile.ZipFile(local) as bundle:
                for member in bundle.namelist():
                    _inside(folder, member, url)
                bundle.extractall(folder)
            return True
        if not tarfile.is_tarfile(local):
            return False
        with tarfile.open(local) as bundle:
            for item in bundle.getmembers():
                _inside(folder, item.name, url)
            bundle.extractall(folder, filter="data")
    except tarfile.FilterError as err:
        raise DataError(f"unsafe archive ({err})", path=url) from err
    except BROKEN as err:
        raise _broken(err, url) from err
    return True
