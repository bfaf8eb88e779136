"""Bring declared raw data to disk: downloaded, verified, extracted, then renamed into place."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
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
        _verify(local[source.url], source.sha256, source.url)
    for target, file in sorted(source.files.items()):
        url = str(file.url or source.url)
        _place(local[url], file, _inside(staged, target, url), url)
    if not source.files:
        _unpack(local[str(source.url)], staged, str(source.url))
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(out)
    shutil.rmtree(downloads)


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
    if scheme == "pypi":
        return _download_wheel(rest, folder)
    if scheme == "file":
        path = Path(rest.removeprefix("//"))
        if not path.exists():
            raise MissingError("no such file", path=path, remedy="Mend the source's url")
        return path
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    target = folder / f"{key}-{PurePosixPath(rest).name}"
    if not target.exists():
        part = target.with_name(target.name + ".part")
        _continue_download(url, part, tick)
        part.replace(target)
    return target


def _continue_download(url: str, part: Path, tick: Tick) -> None:
    try:
        with fsspec.open(url, "rb") as remote, part.open("ab") as local:
            have = local.tell()
            if have and remote.seekable():
                remote.seek(have)
                tick(have)
            elif have:
                local.truncate(0)
            _copy(remote, local, tick)
    except (FileNotFoundError, OSError) as err:
        raise MissingError(
            f"cannot be downloaded ({type(err).__name__}: {err})",
            path=url,
            remedy="Check the url and the network, then run again: the download continues",
        ) from err


def _copy(source: IO[bytes], target: IO[bytes], tick: Tick) -> None:
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)
        tick(len(chunk))


def _download_wheel(requirement: str, folder: Path) -> Path:
    """Return a wheel of the package registry; pip is asked, so that its settings hold."""
    have = sorted(folder.glob("*.whl"))
    if have:
        return have[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingError(
            f"pip could not download it ({reason})",
            path=f"pypi:{requirement}",
            remedy="Check the network and that pip is installed beside gim_cv",
        )
    return min(folder.glob("*.whl"))


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(path: Path, expected: str, url: str) -> None:
    found = sha256_of(path)
    if found != expected:
        if not url.startswith("file:"):
            path.unlink()
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
    if not target.is_relative_to(folder.resolve()) or target == folder.resolve():
        raise DataError(
            f"the path {member!r} leaves the folder that it is extracted to",
            path=url,
            remedy="Do not use this archive, or repack it without '..' and absolute paths",
        )
    return target


def _place(local: Path, file: SourceFile, target: Path, url: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.member is None:
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
        raise DataError("not a zip or tar archive", path=url, remedy="Drop 'member'") from err


def _unpack(local: Path, folder: Path, url: str) -> None:
    """Put all that `local` is (a folder, an archive, one file) under `folder`."""
    if local.is_dir():
        shutil.copytree(local, folder, dirs_exist_ok=True)
    elif zipfile.is_zipfile(local):
        with zipfile.ZipFile(local) as bundle:
            for member in bundle.namelist():
                _inside(folder, member, url)
            bundle.extractall(folder)
    elif tarfile.is_tarfile(local):
        with tarfile.open(local) as bundle:
            for item in bundle.getmembers():
                _inside(folder, item.name, url)
            try:
                bundle.extractall(folder, filter="data")
            except tarfile.FilterError as err:
                raise DataError(f"unsafe archive ({err})", path=url) from err
    else:
        name = PurePosixPath(url).name
        shutil.copyfile(local, folder / name)
    if not any(folder.iterdir()):
        raise RunError("the source holds no file", path=url)
