"""Images of formats that TensorFlow cannot decode: converted to PNG once, and kept in the cache.

Pillow reads TIFF, AVIF, JPEG 2000 and PNM files, and HEIC files with the extra `heic`. Its readers
run in a process of its own with limits, since files of strangers may crash them.
"""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from files import cache, image_types, memory, progress
from files.folders import cache_folder

_ROOT = str(pathlib.Path(__file__).resolve().parents[1])
_MODULE = 'files.image_child'
# Images per process, which takes a moment to start.
_CHUNK = 32
_SECONDS_PER_IMAGE = 30
_MOST_MEMORY = 4 * 2**30
# So few files are opened at each start; the formats of more are kept, until a file changes.
_FEW = 1000
# A task of a thread for each file would take longer than opening it; but all threads need one.
_FILES_AT_A_TIME, _TASKS = 250, 32
# Increment when `image_types.SIGNATURES` or `image_types.CONVERTED` changes.
_VERSION = 2
_TARGET, _UNKNOWN = 'PNG', 'unknown'


class Readable(NamedTuple):
  """Files that can be decoded.

  Attributes:
    paths: for each image, itself or its converted copy; itself if it cannot be converted.
    formats: the formats of these files, names in `image_types.SIGNATURES`; all, if one of them
      cannot be read or has another format.
    notes: lines for the user.
  """
  paths: list[str]
  formats: frozenset[str]
  notes: tuple[str, ...]


def readable(paths: Sequence[str]) -> Readable:
  """Replaces the images of formats that TensorFlow cannot decode by converted copies.

  The first bytes of a file tell its format, whatever its suffix.

  Args:
    paths: image files.
  """
  kinds, formats = _kinds(paths)
  if not kinds:
    return Readable(list(paths), formats, ())
  folder = cache_folder() / 'images'
  folder.mkdir(parents=True, exist_ok=True)
  targets = {path: str(folder / f'{_key(path)}.png') for path in kinds}
  missing = [path for path, target in targets.items() if not os.path.exists(target)]
  reasons = _convert([(path, targets[path]) for path in missing])
  counts = collections.Counter(kind for path, kind in kinds.items() if path not in reasons)
  notes = []
  if counts:
    listed = ', '.join(f'{count} {kind}' for kind, count in sorted(counts.items()))
    notes.append(f'Converted to PNG, in {folder}: {listed}.')
  if reasons:
    path, reason = next(iter(reasons.items()))
    notes.append(f'Cannot be converted to PNG: {len(reasons)} of {len(kinds)} images, such as '
                 f'{path} ({reason}).')
  return Readable([targets[path] if path in targets and path not in reasons else path
                   for path in paths], formats | {_TARGET}, tuple(notes))


def _kinds(paths: Sequence[str]) -> tuple[dict[str, str], frozenset[str]]:
  """The formats of the files that have to be converted, and all formats of the others."""
  paths = list(dict.fromkeys(paths))  # A list may have an image many times.
  if len(paths) < _FEW:
    found, formats = _read_kinds(paths)
  else:
    key = cache.key_of('image formats', _VERSION, cache.digest_of_stamps(paths))
    stored = cache.load(key)
    if stored is None:
      stored = _read_kinds(paths)
      cache.store(key, stored)
    found, formats = stored
  return {paths[number]: kind for number, kind in found}, frozenset(formats)


def _read_kinds(paths: Sequence[str]) -> tuple[list[tuple[int, str]], list[str]]:
  """Opens files; returns (position, format) of those to convert, and the formats of the others."""
  size = min(_FILES_AT_A_TIME, 1 + len(paths) // _TASKS)
  parts = [range(start, min(start + size, len(paths))) for start in range(0, len(paths), size)]

  def read(part: range) -> tuple[list[tuple[int, str]], set[str]]:
    found = [(number, image_types.format_of(paths[number]) or _UNKNOWN) for number in part]
    return ([(number, kind) for number, kind in found if kind in image_types.CONVERTED],
            {kind for _, kind in found if kind not in image_types.CONVERTED})

  kinds: list[tuple[int, str]] = []
  formats: set[str] = set()
  with (concurrent.futures.ThreadPoolExecutor() as pool,  # For slow network disks.
        progress.counter(len(paths), unit='image', description='reading formats') as done):
    for part, (found, others) in zip(parts, pool.map(read, parts), strict=True):
      kinds += found
      formats |= others
      done.update(len(part))
  return kinds, sorted(image_types.SIGNATURES if _UNKNOWN in formats else formats)


def _key(path: str) -> str:
  """A name for the copy, which changes with the file."""
  return cache.key_of('converted', cache.stamp(path))[:32]


def _convert(jobs: Sequence[tuple[str, str]]) -> dict[str, str]:
  """Converts images in processes; returns the reasons of those that cannot be converted."""
  reasons: dict[str, str] = {}
  chunks = [jobs[start:start + _CHUNK] for start in range(0, len(jobs), _CHUNK)]
  with (concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
        progress.counter(len(jobs), unit='image', description='converting') as done):
    for chunk, results in zip(chunks, pool.map(_convert_chunk, chunks), strict=True):
      reasons.update({path: reason for (path, _), reason in zip(chunk, results, strict=True)
                      if reason})
      done.update(len(chunk))
  return reasons


def _convert_chunk(jobs: Sequence[tuple[str, str]]) -> list[str | None]:
  """Converts some images; goes on after one that ends the process."""
  results: list[str | None] = []
  while len(results) < len(jobs):
    found, failure = _run(jobs[len(results):])
    results += found
    if len(results) < len(jobs):
      results.append(failure)
  return results


def _run(jobs: Sequence[tuple[str, str]]) -> tuple[list[str | None], str]:
  """Starts a process; returns its results, and how it ended if they are not complete."""
  with tempfile.TemporaryDirectory(dir=os.path.dirname(jobs[0][1])) as folder:
    aside = [os.path.join(folder, f'{number}.png') for number in range(len(jobs))]
    text = json.dumps([[os.path.abspath(path), target]
                       for (path, _), target in zip(jobs, aside, strict=True)])
    seconds = _SECONDS_PER_IMAGE * len(jobs)
    failure = 'the process that reads it failed'
    try:
      done = subprocess.run(
          [sys.executable, '-m', _MODULE, str(seconds), str(min(_MOST_MEMORY, memory.available()))],
          input=text, capture_output=True, text=True, timeout=seconds, cwd=_ROOT, check=False)
      output = done.stdout
    except subprocess.TimeoutExpired as error:
      output = (error.stdout or b'').decode() if isinstance(error.stdout, bytes) else ''
      failure = f'it took longer than {seconds} seconds'
    results = [json.loads(line) for line in output.splitlines()]
    for (_, target), made, reason in zip(jobs, aside, results, strict=False):
      if reason is None:
        os.replace(made, target)
  return results, failure
