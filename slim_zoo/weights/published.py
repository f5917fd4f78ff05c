"""Downloading weights by name, and unpacking checkpoints from archives."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from files import archives, downloads
from files.errors import unknown_name
from files.folders import cache_folder
from files.locks import locked
from slim_zoo.weights import checkpoint_files
from slim_zoo.weights.published_files import PUBLISHED_FILES, PublishedFile
from slim_zoo.weights.table_files import is_table

PREFIX = 'zoo:'
_LISTED = 20  # Names in the error for an unknown one.
_ARCHIVES = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
# Files with these names are in PyTorch's format, whatever their content.
_NO_ARCHIVES = ('.pth.tar', '.pt.tar')
# Other files with weights, used if there is no checkpoint.
_OTHERS = ('.caffemodel', '.h5', '.keras', '.npy', '.pb', '.pt', '.pth', '.safetensors', '.tflite')


def resolve(path: str) -> tuple[str, dict[str, Any]]:
  """Finds the weights that a name, an archive or a path refers to.

  Args:
    path: `zoo:` and a name of `PUBLISHED_FILES`, which is downloaded if it is not there yet; a tar
      archive, also compressed, with a checkpoint; or any other path.

  Returns:
    What `sources.open_weights` opens, and what is known of it: `model_name`, `classes`,
    `preprocessing_name`, `image_size` and `channel_order`, as far as they are known. An archive
    with the name of a published one is assumed to be it.

  Raises:
    ValueError: if there is no such name, or what was downloaded or unpacked is damaged.
    OSError: if a file cannot be read or downloaded.
  """
  if path.startswith(PREFIX):
    name = path[len(PREFIX):]
    return fetch(name), PUBLISHED_FILES[name].metadata()
  if not _is_archive(path):
    return path, {}
  published = _of_this_file(path)
  folder = _cache() / 'archives' / downloads.digest_of(path)
  archives.unpack(path, folder)
  return (find_checkpoint(folder, published.folder if published else ''),
          published.metadata() if published else {})


def fetch(name: str, cache_dir: str | os.PathLike | None = None) -> str:
  """Downloads published weights, if they are not there yet.

  Args:
    name: a name of `PUBLISHED_FILES`.
    cache_dir: where to keep them, in a folder of this name; by default `weights` in
      `files.folders.cache_folder()`. Of an archive, only the content is kept.

  Returns:
    The path of the file, or of the checkpoint in it.

  Raises:
    ValueError: if there is no such name, or another file arrives.
    OSError: if it cannot be downloaded; the message says where to put the file by hand.
  """
  published = _published(name)
  folder = (Path(cache_dir) if cache_dir else _cache()) / name
  if not published.is_archive:
    return str(_download(published, folder))
  content = folder / 'unpacked'
  if not content.is_dir():
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
      _download_content(published, content)
  return find_checkpoint(content, published.folder)


def _download_content(published: PublishedFile, content: Path) -> None:
  if content.is_dir():  # Another process has unpacked it in the meantime.
    return
  path = _download(published, content.parent)
  try:
    archives.unpack(path, content)
  except archives.DamagedArchiveError:
    path.unlink()  # Another download may be complete.
    raise
  path.unlink()


def _download(published: PublishedFile, folder: Path) -> Path:
  resource = published.resource
  path = folder / resource.filename
  is_new = not path.exists()
  downloads.download(resource, folder, advice=(
      f'Or download it by other means and put it there: {path} (the folder follows from '
      'XDG_CACHE_HOME). It is then used without the network.'))
  if is_new and not resource.digest:
    print(f'No digest of {resource.url} was published: {path.name} was checked by what the server '
          'says of it, and by its form.')
  return path


def _published(name: str) -> PublishedFile:
  if name not in PUBLISHED_FILES:
    close = difflib.get_close_matches(name, PUBLISHED_FILES, n=_LISTED, cutoff=0)
    error = unknown_name('published weights', name, close)
    raise ValueError(f"{error} These are {len(close)} of {len(PUBLISHED_FILES)}: TF-Slim's names, "
                     'and keras_… and torchvision_… with those of their models; '
                     'weights/published_files.py has all.')
  return PUBLISHED_FILES[name]


def _cache() -> Path:
  return cache_folder() / 'weights'


def _is_archive(path: str) -> bool:
  if not os.path.isfile(path) or path.endswith(_NO_ARCHIVES):
    return False
  if path.endswith(_ARCHIVES):
    return True
  with open(path, 'rb') as file:
    return path.endswith('.tar') and file.read(262)[257:] == b'ustar'


def _of_this_file(path: str) -> PublishedFile | None:
  """Finds the entry of a published file by the file's name, which includes versions and sizes."""
  name = os.path.basename(path)
  return next((published for published in PUBLISHED_FILES.values()
               if published.resource.filename == name), None)


def find_checkpoint(folder: str | os.PathLike, preferred: str = '') -> str:
  """Finds the weights in the content of an archive.

  A checkpoint is preferred to frozen graphs and TFLite models beside it.

  Args:
    folder: the content.
    preferred: name of the folder whose checkpoint is used if there are several.

  Returns:
    A checkpoint's prefix, or the path of a file in another format.

  Raises:
    ValueError: if there is nothing, or more than one.
  """
  files = sorted(path for path in Path(folder).rglob('*')
                 if path.is_file() and not path.name.startswith('.'))
  found = [path.with_suffix('') if path.suffix == '.index' else path for path in files
           if path.suffix == '.index' or is_table(path)]
  found = found or [path for path in files if path.suffix in _OTHERS]
  if len(found) > 1 and preferred:
    found = [path for path in found if path.parent.name == preferred] or found
  if len(found) == 1:
    return str(found[0])
  if not found:
    raise ValueError(f'Expected a checkpoint in the archive that was unpacked to {folder}. '
                     f'Received: {", ".join(path.name for path in files[:_LISTED]) or "no files"}.')
  if len({path.parent for path in found}) == 1 and (found[0].parent / 'checkpoint').exists():
    return checkpoint_files.latest(found[0].parent)
  raise ValueError('Expected one checkpoint in the archive. Received several, which were unpacked: '
                   f'{", ".join(map(str, found[:_LISTED]))}. Give the path of one of them.')
