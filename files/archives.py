"""Unpacking archives safely: they write only below one folder, and a bounded number of bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import platform
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple, Protocol

from files.locks import locked
from files.reasons import FAILURES, short_reason

_CHUNK = 2**20
# An archive may unpack to this many times its own size, or to this many bytes if that is more. Text
# and images compress to a tenth at best; a file that compresses to a thousandth is an attack.
_MOST_EXPANSION = 100
_ALWAYS_ALLOWED = 2**26
_BLOCK = 4096  # Bytes counted even for an empty file.
_LONGEST_HEADER = 2**20
_COMPRESSED = ((b'\x1f\x8b', gzip.open), (b'BZh', bz2.open), (b'\xfd7zXZ\x00', lzma.open))
_TAR_AT = 257  # Place of the signature of a tar archive.
_ZIP = (b'PK\x03\x04', b'PK\x05\x06')


class ArchiveError(ValueError):
  """An archive is damaged or unsafe; the message says which, and what to do."""


class DamagedArchiveError(ArchiveError):
  """A file is not an archive or is damaged; another copy may be intact."""


class _Member(NamedTuple):
  """A file or folder in an archive; a folder has no stream."""
  name: str
  size: int
  stream: IO[bytes] | None


def is_tar(path) -> bool:
  """Tells whether a file begins like a tar archive, which may be compressed."""
  with open(path, 'rb') as file:
    head = file.read(8)
    file.seek(0)
    opened = next((opener for magic, opener in _COMPRESSED if head.startswith(magic)), None)
    try:
      with opened(file) if opened else contextlib.nullcontext(file) as plain:
        return plain.read(tarfile.BLOCKSIZE)[_TAR_AT:].startswith(b'ustar')
    except (MemoryError, *FAILURES):
      return False


@contextlib.contextmanager
def unpacked(source, scratch) -> Iterator[Path]:
  """Returns a folder with the content of `source`, for the duration of a `with` block.

  Args:
    source: a folder, which is returned unchanged, or a tar (also compressed) or zip archive.
    scratch: a folder with room for the archive's content. The content is removed at the end.

  Yields:
    The path of the folder.

  Raises:
    FileNotFoundError: if `source` does not exist.
    ArchiveError: see `unpack`.
  """
  source = Path(source)
  if source.is_dir():
    yield source
    return
  if not source.is_file():
    raise FileNotFoundError(f'Expected a folder or an archive. Received: {source}, which does not '
                            'exist.')
  Path(scratch).mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=scratch, prefix='.unpacked-') as folder:
    _extract(source, Path(folder))
    yield Path(folder)


def unpack(source, folder) -> Path:
  """Unpacks an archive permanently, unless it has been already.

  The folder is complete or absent. If several processes call this, one unpacks and the others wait.

  Args:
    source: a tar (also compressed) or zip archive.
    folder: folder for its content.

  Returns:
    The folder.

  Raises:
    ArchiveError: if it is not an archive, is truncated or damaged, has a member that is not a plain
      file or folder below the top of the archive, or unpacks to much more than its size or than
      the disk has room for.
    OSError: if it cannot be read, or the folder cannot be written.
  """
  folder = Path(folder)
  if folder.is_dir():
    return folder
  folder.parent.mkdir(parents=True, exist_ok=True)
  with locked(folder):
    if folder.is_dir():  # Another process has unpacked it in the meantime.
      return folder
    aside = folder.with_name(folder.name + '.part')
    shutil.rmtree(aside, ignore_errors=True)  # Left by a process that was killed.
    aside.mkdir()
    try:
      _extract(Path(source), aside)
      os.rename(aside, folder)
    except BaseException:
      shutil.rmtree(aside, ignore_errors=True)
      raise
  return folder


def _extract(source: Path, folder: Path) -> None:
  with open(source, 'rb') as file:
    most = _most_bytes(source, file, folder)
    head = file.read(8)
    file.seek(0)
    read = _zip_members if head.startswith(_ZIP) else _tar_members
    total = 0
    with _reading(source), contextlib.closing(
        read(source, file, folder=folder, head=head, most=most)) as members:
      for member in members:
        target = folder / _checked_name(source, member.name)
        total += member.size + _BLOCK
        if total > most:
          raise _too_large(source, most)
        _write(member, target)
    if not total:
      raise _damaged(source, 'it is empty')


def _write(member: _Member, target: Path) -> None:
  if member.stream is None:
    target.mkdir(parents=True, exist_ok=True)
    return
  target.parent.mkdir(parents=True, exist_ok=True)
  with open(target, 'wb') as file:
    shutil.copyfileobj(member.stream, file, _CHUNK)


def _most_bytes(source: Path, file: IO[bytes], folder: Path) -> int:
  """Returns the number of bytes an archive may unpack to."""
  size = os.fstat(file.fileno()).st_size
  most = max(_MOST_EXPANSION * size, _ALWAYS_ALLOWED)
  free = shutil.disk_usage(folder).free
  if size > free:
    raise ArchiveError(f'Expected room for {source}, of {size} bytes, on the disk of '
                       f'{folder.parent}. Received: {free} bytes free. Make room there.')
  return min(most, free)


def _too_large(source: Path, most: int) -> ArchiveError:
  return ArchiveError(
      f'Expected {source} to unpack to at most {most} bytes, as its size and the free space on the '
      'disk allow. Received more. Make room on the disk; if there is enough, the archive was made '
      'to fill it and should not be used.')


@contextlib.contextmanager
def _reading(source: Path) -> Iterator[None]:
  """Converts every error that a bad archive causes to one."""
  try:
    yield
  except ArchiveError:
    raise
  except (MemoryError, *FAILURES) as error:  # An xz file states how much memory it needs.
    if isinstance(error, OSError) and error.errno is not None and not isinstance(
        error, gzip.BadGzipFile):
      raise  # An error of the disk.
    raise _damaged(source, short_reason(error)) from error


def _damaged(source: Path, reason: str) -> DamagedArchiveError:
  return DamagedArchiveError(f'Expected a complete tar or zip archive. Received: {source} '
                             f'({reason}): download or copy it again.')


def _zip_members(source: Path, file: IO[bytes], *, folder: Path, head: bytes,
                 most: int) -> Generator[_Member, None, None]:
  del folder, head, most  # zipfile reads no more of a member than its stated size.
  with zipfile.ZipFile(file) as archive:
    for member in archive.infolist():
      kind = stat.S_IFMT(member.external_attr >> 16)
      if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _no_plain_file(source, member.filename)
      if member.is_dir():
        yield _Member(member.filename, 0, None)
        continue
      with archive.open(member) as stream:
        yield _Member(member.filename, member.file_size, stream)


def _tar_members(source: Path, file: IO[bytes], *, folder: Path, head: bytes,
                 most: int) -> Generator[_Member, None, None]:
  if not hasattr(tarfile, 'data_filter'):
    raise ArchiveError('Expected Python 3.10.12, 3.11.4 or newer, which can check the members of '
                       f'tar archives. Received: Python {platform.python_version()}. Update it, or '
                       f'unpack {source} yourself.')
  opened = next((opener for magic, opener in _COMPRESSED if head.startswith(magic)), None)
  with opened(file) if opened else contextlib.nullcontext(file) as plain:
    bounded = _Bounded(source, plain, most)
    # When reading, tarfile calls only read, seek and tell.
    with tarfile.open(fileobj=bounded, mode='r:') as archive:  # type: ignore[call-overload]
      for member in archive:
        if not (member.isreg() or member.isdir()) or member.issparse():
          raise _no_plain_file(source, member.name)
        if member.size < 0 or member.size > most:
          raise _too_large(source, most)
        _checked_name(source, member.name)
        try:
          tarfile.data_filter(member, str(folder))
        except tarfile.FilterError as error:
          raise _no_plain_file(source, member.name) from error
        yield _Member(member.name, member.size,
                      None if member.isdir() else archive.extractfile(member))
    # Only zeros may follow. Compressed data have their checksum at the very end.
    while rest := bounded.read(_LONGEST_HEADER):
      if rest.strip(b'\0'):
        raise _damaged(source, 'data follow its end')


def _no_plain_file(source: Path, name: str) -> ArchiveError:
  return ArchiveError(f'Expected files and folders in {source}. Received {name!r}, a link, device '
                      'or similar: unpack it yourself if you trust it.')


def _checked_name(source: Path, name: str) -> str:
  path = PurePosixPath(name.replace('\\', '/'))
  if path.is_absolute() or '..' in path.parts or PureWindowsPath(name).drive:
    raise ArchiveError(f'Expected only files below the top of {source}. Received {name!r}, which '
                       'would be written elsewhere: do not use this archive.')
  return str(path)


class _Stream(Protocol):
  """The readable part of a stream, compressed or not."""

  def read(self, size: int, /) -> bytes: ...

  def seek(self, position: int, /) -> int: ...

  def tell(self) -> int: ...


class _Bounded:
  """A stream that raises an error instead of returning more than an archive may contain.

  `tarfile` reads a member's metadata, such as a long name, in one piece of any length the header
  claims; such reads are bounded too.
  """

  def __init__(self, source: Path, stream: _Stream, most: int):
    self._source, self._stream, self._most = source, stream, most

  def read(self, size: int = -1) -> bytes:
    """Like a file's `read`."""
    if not 0 <= size <= _LONGEST_HEADER:
      raise _damaged(self._source, f'a header in it claims {size} bytes')
    data = self._stream.read(size)
    if self._stream.tell() > self._most:
      raise _too_large(self._source, self._most)
    return data

  def seek(self, position: int) -> int:
    """Like a file's `seek`."""
    if position > self._most:
      raise _too_large(self._source, self._most)
    return self._stream.seek(position)

  def tell(self) -> int:
    """Like a file's `tell`."""
    return self._stream.tell()
