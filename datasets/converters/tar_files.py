"""Reading tar archives where they are, without unpacking them."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator
from typing import Protocol

_END = bytes(tarfile.BLOCKSIZE)  # A block of zeros ends an archive.


class Stream(Protocol):
  """What `tarfile` calls when it reads."""

  def read(self, size: int, /) -> bytes:
    """Like a file's `read`."""

  def seek(self, position: int, /) -> int:
    """Like a file's `seek`."""

  def tell(self) -> int:
    """Like a file's `tell`."""


def members(stream: Stream, name: str) -> Iterator[tuple[str, int, int]]:
  """Yields the name, position and size of each file in an archive, in order.

  The stream may be moved between two of them.

  Args:
    stream: the archive, not compressed.
    name: its name for messages.

  Raises:
    ValueError: if the archive is truncated or damaged.
  """
  with reading(name), tarfile.open(
      fileobj=stream, mode='r:') as archive:  # type: ignore[call-overload]
    for member in archive:
      if member.isreg():
        yield member.name, member.offset_data, member.size
      archive.members = []  # They would be kept for all images.
    stream.seek(archive.offset)
    # Between two members tarfile takes a cut for the end.
    if stream.read(tarfile.BLOCKSIZE) != _END:
      raise tarfile.ReadError('unexpected end of data')


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
  """Within a `with` block, errors of a truncated or damaged archive become a ValueError."""
  try:
    yield
  except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise ValueError(f'Expected a complete tar archive. Received: {name}, which is truncated or '
                     'damaged. Download or copy it again.') from error
