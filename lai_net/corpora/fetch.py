"""Bring a public corpus from its official address, and keep a file only if its SHA-256 is a known one.

What is under way lies in the same folder as `.NAME.part`; the next call goes on where it ends. What a
server then sends from the start, be it the file or a page by which a network asks who one is, goes to
`.NAME.part.anew`, and takes the part's place only if it is more and was cut.

An archive is read, never extracted: the wanted members are copied under names of ours, so nothing else, no
link and no permission bit of it reaches the disk.
"""

import shutil
import tarfile
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lai_net.corpora.sources import Source
from lai_net.errors import InputError
from lai_net.files import sha256_of

TIMEOUT_S = 30.0
"""Without a byte for so long, the connection counts as lost."""

_CHUNK = 1 << 18
_PARTIAL = 206
_BEYOND_THE_END = 416


def fetch(source: Source, folder: Path, console: Console) -> tuple[str, ...]:
    """Bring the files of a corpus that `folder` lacks.

    Args:
        source: where from, and what must come.
        folder: where to; made where missing. A file that is there stays, and is refused if it is another.
        console: shows the progress, if it is a terminal.

    Returns:
        The names of the files that came; none where the corpus was complete.

    Raises:
        InputError: no network, no such file, no space, a connection that was cut, or bytes that are unknown.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = tuple(name for name in source.checksums if not _is_there(folder / name, source))
        if missing and source.archive:
            _fetch_archive(source, folder, missing, console)
        else:
            for name in missing:
                part = _part(folder / name)
                came, is_whole = _download(source.address + name, part, console)
                if not is_whole and sha256_of(came) not in source.checksums[name]:
                    raise _perhaps_cut(source.address + name, came)
                _keep(came, folder / name, source)
                part.unlink(missing_ok=True)
    except OSError as error:  # of the network they are InputErrors by now
        raise InputError(f"{folder}: {error.strerror or error}; give a folder that can be written") from error
    return missing


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _is_there(path: Path, source: Source) -> bool:
    if not path.exists():
        return False
    if sha256_of(path) in source.checksums[path.name]:
        return True
    raise InputError(f"{path}: is another file than the corpus' own; move it away or give another folder")


def _keep(part: Path, path: Path, source: Source) -> None:
    """Give a file its name if its bytes are known; remove it if not."""
    digest = sha256_of(part)
    if digest not in source.checksums[path.name]:
        part.unlink()
        raise InputError(
            f"{path.name} from {source.address}: removed, its SHA-256 is {digest}, not "
            f"{' or '.join(source.checksums[path.name])}; run it again; if it stays so, the file has changed"
        )
    part.replace(path)


def _fetch_archive(source: Source, folder: Path, names: Sequence[str], console: Console) -> None:
    """Download the archive, take the files out and remove it, also if it is not what it should be."""
    address, part = source.address + source.archive, _part(folder / source.archive)
    archive, is_whole = _download(address, part, console)
    try:
        _unpack(archive, source, folder, names)
    except (tarfile.TarError, EOFError) as error:
        if not is_whole:
            raise _perhaps_cut(address, archive) from error
        archive.unlink()
        raise InputError(f"{address}: is no whole tar.gz ({error}); removed, run it again") from error
    except InputError:
        archive.unlink()
        raise
    finally:
        for name in names:
            _part(folder / name).unlink(missing_ok=True)
    archive.unlink()
    part.unlink(missing_ok=True)


def _unpack(archive: Path, source: Source, folder: Path, names: Sequence[str]) -> None:
    """Copy the named files out of the archive, as far as it must be read for them."""
    wanted = {PurePosixPath(source.archive_folder, name): name for name in names}
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise InputError(
                    f"{source.archive}: {member.name!r} would leave the folder; nothing of it is used"
                )
            name = wanted.pop(path, None)
            if name is not None:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise InputError(
                        f"{source.archive}: {member.name!r} is no plain file; nothing of it is used"
                    )
                part = _part(folder / name)
                with content, part.open("wb") as file:
                    shutil.copyfileobj(content, file)
                _keep(part, folder / name, source)
            if not wanted:
                return
    raise InputError(f"{source.archive}: holds no {' and no '.join(map(str, wanted))}; it has changed")


def _download(address: str, part: Path, console: Console) -> tuple[Path, bool]:
    """Bring the bytes that `part` lacks; all, into a file beside it, where the server does not resume.

    Returns:
        The file, and whether these are all its bytes; False where the server did not say how many there are.
    """
    anew = part.with_name(f"{part.name}.anew")
    _keep_longer(anew, part)
    done = part.stat().st_size if part.exists() else 0
    response = _open(address, done)
    if response is None:
        return part, True
    with response:
        if done and response.status != _PARTIAL:
            part, done = anew, 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        if total is not None:
            _check_space(part.parent, total - done)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with (
            part.open("ab" if done else "wb") as file,
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task(address.rsplit("/", 1)[-1], total=total, completed=done)
            while chunk := _read(response, address):
                file.write(chunk)
                progress.advance(task, len(chunk))
    size = part.stat().st_size
    if total is not None and size < total:
        raise _cut(address, f"after {size} of {total} bytes")
    return part, total is not None


def _keep_longer(anew: Path, part: Path) -> None:
    """Of two downloads of a file, neither of them known to be whole or wrong, keep what is more."""
    if not anew.exists():
        return
    if part.exists() and part.stat().st_size >= anew.stat().st_size:
        anew.unlink()
    else:
        anew.replace(part)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: the download takes {needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free; make space"
        )


def _open(address: str, start: int) -> HTTPResponse | None:
    """Ask for the bytes from `start` on; None where there are none left."""
    request = Request(address, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == _BEYOND_THE_END and start:
            return None
        answer = " ".join(f"{error.code} {error.reason}".split())
        raise InputError(
            f"{address}: the server answers {answer}; try later, or get the files by hand"
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"{address}: cannot be reached ({reason}); check the network and run it again"
        ) from error
    return response


def _read(response: HTTPResponse, address: str) -> bytes:
    """What is there by now, at most a chunk: of a connection that then stalls nothing that came is lost."""
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _cut(address, str(error)) from error


def _cut(address: str, how: str) -> InputError:
    return InputError(f"{address}: the connection was cut ({how}); the same command goes on from there")


def _perhaps_cut(address: str, part: Path) -> InputError:
    """The next call learns whether there is more: the rest comes, or the file is removed as another."""
    return InputError(
        f"{address}: {part.stat().st_size} bytes came, which are not the file; the server did not say how "
        "many there are, so the connection may have been cut; the same command goes on from there"
    )
