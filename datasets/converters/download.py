"""Downloads that resume where they broke off, and are checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

_CHUNK = 2**18
_ATTEMPTS = 5
_TIMEOUT_SECONDS = 60


class Resource(NamedTuple):
  """A file on the network: its address, size in bytes and sha256 in hexadecimal."""
  url: str
  size: int
  sha256: str

  @property
  def filename(self) -> str:
    """The file's name, the last part of its address."""
    return self.url.rpartition('/')[2]


def download(resource: Resource, folder, *, attempts: int = _ATTEMPTS,
             pause_seconds: float = 2.0) -> Path:
  """Downloads a file, unless it is there already.

  What arrived of it is kept beside it as `<name>.part`; the next call, also of another process,
  asks the server for the rest only.

  Args:
    resource: the file.
    folder: where to put it; made if need be.
    attempts: how often to go on after the connection broke without bringing anything new.
    pause_seconds: how long to wait before that.

  Returns:
    The path of the complete file.

  Raises:
    OSError: if it cannot be had.
    ValueError: if something else than the file arrived.
  """
  path = Path(folder) / resource.filename
  if path.is_file() and _is_complete(path, resource):
    return path
  path.parent.mkdir(parents=True, exist_ok=True)
  part = path.with_name(path.name + '.part')
  failures = 0
  while (before := _size(part)) < resource.size:
    try:
      _fetch_rest(resource, part)
    except (OSError, http.client.HTTPException) as error:
      failures = 0 if _size(part) > before else failures + 1
      if failures >= attempts or _is_final(error):
        raise OSError(
            f'Could not download {resource.url}: {error}. {_size(part)} of {resource.size} bytes '
            f'are kept in {part}: run the command again to go on, or download the file by other '
            f'means and give it as --source.') from error
      time.sleep(pause_seconds)
  if not _is_complete(part, resource):
    received = f'{_size(part)} bytes with sha256 {_sha256(part)}'
    part.unlink()
    raise ValueError(
        f'Expected {resource.size} bytes with sha256 {resource.sha256} from {resource.url}. '
        f'Received {received}; removed. Run the command again; if this repeats, the file was '
        'changed at its source, or a proxy answers in its place.')
  os.replace(part, path)
  return path


def _fetch_rest(resource: Resource, part: Path) -> None:
  """Adds to `part` what it lacks, as far as the connection lasts."""
  start = _size(part)
  request = urllib.request.Request(resource.url, headers={'Range': f'bytes={start}-'})
  with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
    resumed = response.status == http.client.PARTIAL_CONTENT
    if resumed and not response.headers.get('Content-Range', '').startswith(f'bytes {start}-'):
      raise OSError('the server sent another part of the file than was asked for')
    # A server that knows no ranges sends everything again.
    start = start if resumed else 0
    with open(part, 'ab' if resumed else 'wb') as file, tqdm(
        desc=resource.filename, total=resource.size, initial=start, unit='B', unit_scale=True,
        disable=not sys.stderr.isatty(), leave=False) as bar:
      while chunk := response.read(_CHUNK):
        file.write(chunk)
        bar.update(len(chunk))
        start += len(chunk)
        if start > resource.size:
          return
  if start < resource.size:
    raise OSError('the connection broke off')


def _is_final(error: Exception) -> bool:
  """Whether to try again would be no use: a refusal by the server, or a problem on this side."""
  if isinstance(error, urllib.error.HTTPError):
    return error.code < 500
  return isinstance(error, OSError) and error.errno is not None and not isinstance(
      error, (ConnectionError, TimeoutError))


def _is_complete(path: Path, resource: Resource) -> bool:
  return _size(path) == resource.size and _sha256(path) == resource.sha256


def _size(path: Path) -> int:
  return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
  digest = hashlib.sha256()
  with open(path, 'rb') as file:
    while chunk := file.read(2**20):
      digest.update(chunk)
  return digest.hexdigest()
