"""Downloads that are resumed after an interruption, and checked."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from files import progress
from files.locks import locked

_CHUNK = 2**18
_ATTEMPTS = 5
_TIMEOUT_SECONDS = 60
# The algorithm of each kind of digest.
_ALGORITHMS = {'md5': 'md5', 'sha1': 'sha1', 'sha256': 'sha256', 'sha256-prefix': 'sha256'}


class Resource(NamedTuple):
  """A file on the network.

  Attributes:
    url: its address.
    size: in bytes; None if it was not published.
    digest: (kind, hexadecimal digits) as published, of kind 'md5', 'sha1', 'sha256' or
      'sha256-prefix', the first digits of a SHA-256; None if there is none.
    head: the first bytes of the file, for files without anything better to check.
    name: the file's name on disk; '' for the last part of its address.
    mirrors: where else it can be downloaded, in the order in which they are tried. Each has a size,
      digest and name of its own, so the same weights in another format are a mirror, too.
  """
  url: str
  size: int | None = None
  digest: tuple[str, str] | None = None
  head: bytes = b''
  name: str = ''
  mirrors: tuple[Resource, ...] = ()

  @property
  def filename(self) -> str:
    """The file's name on disk."""
    return self.name or self.url.rpartition('/')[2]

  @property
  def sources(self) -> tuple[Resource, ...]:
    """Itself and its mirrors, in the order in which they are tried."""
    return self, *self.mirrors

  def text(self) -> str:
    """Describes what is known about the file."""
    known = []
    if self.size is not None:
      known.append(f'{self.size} bytes')
    if self.digest:
      known.append(f'{self.digest[0]} {self.digest[1]}')
    elif self.head:
      known.append(f'the first bytes {self.head.hex()}')
    return ' with '.join(known) or 'a file'


class _LocalError(OSError):
  """A problem on this side, such as a full disk, which another address does not solve."""


class _Announced(NamedTuple):
  """What a server says about the whole file; None if it does not say it."""
  size: int | None = None
  digest: tuple[str, str] | None = None


def download(resource: Resource, folder, *, advice: str = '', attempts: int = _ATTEMPTS,
             pause_seconds: float = 2.0) -> Path:
  """Downloads a file, unless it exists already.

  If one of its addresses fails, the reason is printed and the next one is tried. The part that has
  arrived is kept next to it as `<name>.<digits>.part`, where the digits stand for the address; the
  next call, from any process, only asks that address for the rest. If several processes need the
  file, one downloads it and the others wait. If no size or digest was published, those that the
  server announces are used (Google's servers send a digest as `x-goog-hash`), which detects damage
  in transit.

  Args:
    resource: the file.
    folder: where to put it; created if necessary.
    advice: a sentence for error messages: what else the user can do.
    attempts: number of failures in a row, without a new byte, after which an address is given up.
    pause_seconds: how long to wait before the next attempt.

  Returns:
    The path of the complete file.

  Raises:
    OSError: if it cannot be downloaded.
    ValueError: if something other than the file arrived, from every address.
  """
  folder = Path(folder)
  if path := _existing(resource, folder):
    return path
  folder.mkdir(parents=True, exist_ok=True)
  with locked(folder / resource.filename):
    if path := _existing(resource, folder):  # Another process has downloaded it in the meantime.
      return path
    errors: list[Exception] = []
    for number, source in enumerate(resource.sources, start=1):
      try:
        path = _download(source, folder, attempts=attempts, pause_seconds=pause_seconds)
      except _LocalError as error:
        raise OSError(f'{error}{_sentence(advice)}') from error
      except (OSError, ValueError) as error:
        errors.append(error)
        if number < len(resource.sources):
          print(f'{error} Trying {resource.sources[number].url}.')
        continue
      for other in resource.sources:
        _part(other, folder).unlink(missing_ok=True)
      return path
  raise _failure_of_all(resource, errors, advice) from errors[-1]


def _existing(resource: Resource, folder: Path) -> Path | None:
  """Finds the complete file from any of its addresses."""
  return next((path for source in resource.sources
               if _is_complete(path := folder / source.filename, source)), None)


def _part(source: Resource, folder: Path) -> Path:
  """Where the bytes from one address are collected."""
  digits = hashlib.sha256(source.url.encode()).hexdigest()[:8]
  return folder / f'{source.filename}.{digits}.part'


def _failure_of_all(resource: Resource, errors: list[Exception], advice: str) -> Exception:
  """Makes one error of those of all addresses."""
  reasons = ' '.join(map(str, errors))
  if len(errors) > 1:
    numbered = ' '.join(f'({number}) {error}' for number, error in enumerate(errors, start=1))
    reasons = f'All {len(errors)} addresses of {resource.filename} failed: {numbered}'
  if any(isinstance(error, OSError) for error in errors):
    return OSError(f'{reasons}{_sentence(advice)}')
  return ValueError(f'{reasons} Run the command again. If this happens again, the file was changed '
                    f'at its source, or a proxy or login page answers instead.{_sentence(advice)}')


def _download(source: Resource, folder: Path, *, attempts: int, pause_seconds: float) -> Path:
  """Downloads a file from one address."""
  part = _part(source, folder)
  announced = _receive(source, part, attempts=attempts, pause_seconds=pause_seconds)
  # Published values take precedence over what the server says.
  expected = source._replace(
      size=announced.size if source.size is None else source.size,
      digest=source.digest or announced.digest)
  if not _is_complete(part, expected):
    received = _described(part, expected)
    part.unlink()
    raise ValueError(
        f'Expected: {expected.text()} from {source.url}. Received: {received}; it was removed.')
  path = folder / source.filename
  os.replace(part, path)
  return path


def _receive(resource: Resource, part: Path, *, attempts: int,
             pause_seconds: float) -> _Announced:
  """Completes `part`, over as many connections as necessary."""
  announced = _Announced(resource.size)
  first, failures = _size(part), 0
  while announced.size is None or _size(part) < announced.size:
    before = _size(part)
    try:
      announced = _fetch_rest(resource, part)
      if announced.size is None:  # The server did not say the size, and sent everything.
        return announced
    except (OSError, http.client.HTTPException) as error:
      failures = 0 if _size(part) > before else failures + 1
      is_offline = _has_no_connection(error) and _size(part) <= first
      if failures >= attempts or is_offline or _is_final(error):
        kind = _LocalError if _is_local(error) else OSError
        raise kind(_failure(resource, part, error)) from error
      time.sleep(pause_seconds)
  return announced


def _failure(resource: Resource, part: Path, error: Exception) -> str:
  text = f'Could not download {resource.url}: {error}.'
  if _has_no_connection(error):
    host = urllib.request.Request(resource.url).host
    reason = getattr(error, 'reason', error)
    text = f'Could not download {resource.url}: {host} cannot be reached ({reason}).'
  if kept := _size(part):
    of = '' if resource.size is None else f' of {resource.size}'
    text += f' {kept}{of} bytes are kept in {part}: run the command again to continue.'
  return text


def _fetch_rest(resource: Resource, part: Path) -> _Announced:
  """Completes `part` as far as one connection goes."""
  start = _size(part)
  request = urllib.request.Request(resource.url)
  if start:
    request.add_header('Range', f'bytes={start}-')
  try:
    response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
  except urllib.error.HTTPError as error:
    with error:
      if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
        raise
      # Nothing is missing: it is complete, or belongs to another file and is downloaded again.
      announced = _announced(error)
      if announced.size != start:
        part.unlink()
      return announced._replace(size=announced.size or start + 1)
  with response:
    announced = _announced(response)
    resumed = response.status == http.client.PARTIAL_CONTENT
    if resumed and not response.headers.get('Content-Range', '').startswith(f'bytes {start}-'):
      raise OSError('the server sent another part of the file than requested')
    # A server without support for ranges sends everything again.
    start = start if resumed else 0
    size = announced.size if resource.size is None else resource.size
    _check_room(part, (size or 0) - start)
    with open(part, 'ab' if resumed else 'wb') as file, progress.counter(
        size, unit='B', description=resource.filename, initial=start, in_thousands=True) as done:
      while chunk := response.read(_CHUNK):
        file.write(chunk)
        done.update(len(chunk))
        start += len(chunk)
        if size is not None and start > size:
          break
      file.flush()
      os.fsync(file.fileno())
  if size is not None and start < size:
    raise OSError('the connection broke off')
  return announced._replace(size=size)


def _announced(response) -> _Announced:
  """Reads the headers of a response."""
  headers = response.headers
  size = re.search(r'/(\d+)$', headers.get('Content-Range', ''))
  if size is None and response.status == http.client.OK:
    size = re.fullmatch(r'(\d+)', headers.get('Content-Length', ''))
  digest = None
  for value in headers.get_all('x-goog-hash') or ():
    if found := re.search(r'\bmd5=([\w+/]+=*)', value):
      with contextlib.suppress(binascii.Error):
        digest = ('md5', base64.b64decode(found[1], validate=True).hex())
  return _Announced(int(size[1]) if size else None, digest)


def _check_room(part: Path, needed: int) -> None:
  free = shutil.disk_usage(part.parent).free
  if needed > free:
    raise OSError(errno.ENOSPC, f'the missing {needed} bytes do not fit on the disk of '
                  f'{part.parent}, which has {free} bytes free')


def _has_no_connection(error: Exception) -> bool:
  return (isinstance(error, urllib.error.URLError)
          and not isinstance(error, urllib.error.HTTPError))


def _is_final(error: Exception) -> bool:
  """Returns whether retrying is useless: the server refused, or the problem is on this side."""
  if isinstance(error, urllib.error.HTTPError):
    return error.code < 500
  return _is_local(error)


def _is_local(error: Exception) -> bool:
  """Returns whether the problem is on this side, such as a full disk."""
  return (isinstance(error, OSError) and error.errno is not None
          and not isinstance(error, (ConnectionError, TimeoutError, urllib.error.URLError)))


def _is_complete(path: Path, resource: Resource) -> bool:
  if not path.is_file() or resource.size not in (None, _size(path)):
    return False
  if resource.digest:
    kind, expected = resource.digest
    # A prefix is compared as far as it goes; the others have full length.
    return digest_of(path, _ALGORITHMS[kind])[:len(expected)] == expected.lower()
  with open(path, 'rb') as file:
    return file.read(len(resource.head)) == resource.head


def _described(path: Path, resource: Resource) -> str:
  """Describes a file in the terms in which it was expected."""
  text = f'{_size(path)} bytes'
  if resource.digest:
    algorithm = _ALGORITHMS[resource.digest[0]]
    return f'{text} with {algorithm} {digest_of(path, algorithm)}'
  with open(path, 'rb') as file:
    head = file.read(len(resource.head))
  return f'{text} that begin with {head.hex()}' if resource.head else text


def digest_of(path, algorithm: str = 'sha256') -> str:
  """Computes a file's digest.

  Args:
    path: the file.
    algorithm: 'md5', 'sha1' or 'sha256'.

  Returns:
    Its hexadecimal form.
  """
  digest = hashlib.new(algorithm, usedforsecurity=False)
  with open(path, 'rb') as file:
    while chunk := file.read(2**20):
      digest.update(chunk)
  return digest.hexdigest()


def _size(path: Path) -> int:
  return path.stat().st_size if path.exists() else 0


def _sentence(text: str) -> str:
  return f' {text}' if text else ''
