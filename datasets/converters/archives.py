"""Unpacking archives without letting them write anywhere else."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


@contextlib.contextmanager
def unpacked(source, scratch) -> Iterator[Path]:
  """Gives a folder with what `source` holds, for the time of a `with` block.

  Args:
    source: a folder, which is given as it is, or a tar (also compressed) or zip archive.
    scratch: a folder with room for the archive's content, which is removed at the end.

  Yields:
    The path of the folder.

  Raises:
    FileNotFoundError: if there is no `source`.
    ValueError: if it is no archive, is cut short, or has a member that is not a plain file or
      folder below the archive's top.
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
    try:
      _extract(source, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
      raise ValueError(f'Expected a complete tar or zip archive. Received: {source} '
                       f'({error}): download or copy it again.') from error
    yield Path(folder)


def _extract(source: Path, folder: str) -> None:
  if zipfile.is_zipfile(source):
    with zipfile.ZipFile(source) as archive:
      for member in archive.infolist():
        _check_name(source, member.filename)
      archive.extractall(folder)
    return
  if not hasattr(tarfile, 'data_filter'):
    raise ValueError('Expected a Python that unpacks archives safely (3.10.12, 3.11.4 or newer). '
                     'Update Python, or unpack the archive and give the folder as --source.')
  with tarfile.open(source) as archive:
    members = archive.getmembers()
    for member in members:
      _check_name(source, member.name)
      if not (member.isreg() or member.isdir()):
        raise ValueError(f'Expected files and folders in {source}. Received {member.name!r}, a '
                         'link or device: unpack it yourself if you trust it.')
    archive.extractall(folder, members=members, filter='data')


def _check_name(source: Path, name: str) -> None:
  path = PurePosixPath(name.replace('\\', '/'))
  if path.is_absolute() or '..' in path.parts:
    raise ValueError(f'Expected only files below the top of {source}. Received {name!r}, which '
                     'would be written elsewhere: do not use this archive.')
