"""Downloading weights by name, and finding weights in archives and folders."""

from __future__ import annotations

import difflib
import itertools
import os
from pathlib import Path
from typing import Any

from files import archives, downloads
from files.errors import unknown_name
from files.folders import cache_folder
from files.locks import locked
from slim_zoo.weights import checkpoint_files, formats, other_formats
from slim_zoo.weights.published_file import PublishedFile
from slim_zoo.weights.published_files import PUBLISHED_FILES
from slim_zoo.weights.table_files import is_table
from slim_zoo.weights.tfjs_files import has_manifest

PREFIX = 'zoo:'
_LISTED = 20  # Names in the error for an unknown one.
_MOST_FILES = 10_000  # Of a folder that is searched for weights.
_ARCHIVES = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
# Files with these names are in PyTorch's format, whatever their content.
_NO_ARCHIVES = ('.pth.tar', '.pt.tar')
# A SavedModel's graph, and the prefix of its checkpoint.
_SAVED_MODEL, _SAVED_VARIABLES = 'saved_model.pb', os.path.join('variables', 'variables')
# Other files with weights, used if there is no checkpoint.
_OTHERS = ('.caffemodel', '.h5', '.keras', '.npy', '.pb', '.pt', '.pth', '.safetensors', '.tflite')


def resolve(path: str) -> tuple[str, dict[str, Any]]:
  """Finds the weights that a name, an archive or a path refers to.

  Args:
    path: `zoo:` and a name of `PUBLISHED_FILES`, which is downloaded if it is not there yet; a
      SavedModel, or another folder, or a zip or tar archive, also compressed, with weights; or any
      other path.

  Returns:
    What `sources.open_weights` opens, and what is known of it: `model_name`, `classes`,
    `preprocessing_name`, `image_size` and `channel_order`, as far as they are known. An archive
    or a file with the name of a published one is assumed to be it.

  Raises:
    ValueError: if there is no such name, what was downloaded or unpacked is damaged, or there is
      not exactly one file of weights in a folder or an archive.
    OSError: if a file cannot be read or downloaded.
  """
  if path.startswith(PREFIX):
    name = path[len(PREFIX):]
    return fetch(name), PUBLISHED_FILES[name].metadata()
  if _is_saved_model(path):
    return os.path.join(path, _SAVED_VARIABLES), checkpoint_files.read_metadata(
        os.path.join(path, 'model'), of_export=True)
  if os.path.isdir(path):
    path = find_checkpoint(path)
  found, published = path, find_by_filename(path) if os.path.isfile(path) else None
  if _is_archive(path):
    folder = _cache() / 'archives' / downloads.digest_of(path)
    archives.unpack(path, folder)
    found = find_checkpoint(folder, published.folder if published else '', archive=path)
    published = published or find_by_filename(found)
  if not published:
    return found, {}
  print(f'{path} has the name of a published file of {published.network}, and is taken to be it.')
  return found, published.metadata()


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
  return find_checkpoint(content, published.folder, archive=published.resource.filename)


def list_downloaded(cache_dir: str | os.PathLike | None = None) -> list[str]:
  """Lists the names of published weights that `fetch` need not download.

  Args:
    cache_dir: see `fetch`.
  """
  cache = Path(cache_dir) if cache_dir else _cache()
  return [name for name, published in PUBLISHED_FILES.items()
          if ((cache / name / 'unpacked').is_dir() if published.is_archive else any(
              (cache / name / source.filename).exists()
              for source in published.resource.sources))]


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
  paths = [folder / source.filename for source in resource.sources]
  is_new = not any(path.exists() for path in paths)
  path = downloads.download(resource, folder, advice=(
      f'Or download it by other means and put it there: {paths[0]} (the folder follows from '
      'XDG_CACHE_HOME). It is then used without the network.'))
  source = resource.sources[paths.index(path)]
  if is_new and not source.digest:
    print(f'No digest of {source.url} was published: {path.name} was checked by what the server '
          'says of it, and by its form.')
  return path


def _published(name: str) -> PublishedFile:
  if name not in PUBLISHED_FILES:
    close = difflib.get_close_matches(name, PUBLISHED_FILES, n=_LISTED, cutoff=0)
    error = unknown_name('published weights', name, close)
    raise ValueError(f"{error} These are {len(close)} of {len(PUBLISHED_FILES)}: TF-Slim's names, "
                     'and keras_…, torchvision_… and timm_… with those of their models; '
                     'weights/published_files.py has all.')
  return PUBLISHED_FILES[name]


def _cache() -> Path:
  return cache_folder() / 'weights'


def _is_saved_model(path: str | os.PathLike[str]) -> bool:
  """Tells whether a folder is a SavedModel, whose variables are an object-based checkpoint."""
  return os.path.isfile(os.path.join(path, _SAVED_MODEL)) and os.path.isfile(
      os.path.join(path, f'{_SAVED_VARIABLES}.index'))


def _is_archive(path: str) -> bool:
  if not os.path.isfile(path) or path.endswith(_NO_ARCHIVES):
    return False
  if path.endswith(_ARCHIVES):
    return True
  with open(path, 'rb') as file:
    head = file.read(8)
  # PyTorch's and Keras' files are zip archives too.
  return archives.is_tar(path) or (
    bool(formats.members(path, head)) and formats.recognize(path) is None)


def find_by_filename(path: str | os.PathLike) -> PublishedFile | None:
  """Finds the entry of a published file by the file's name, which includes versions and sizes.

  Names that several files share, such as Hugging Face's model.safetensors, tell nothing.
  """
  name = os.path.basename(path)
  found = [published for published in PUBLISHED_FILES.values()
           if any(source.filename == name for source in published.resource.sources)]
  return found[0] if len(found) == 1 else None


def find_checkpoint(folder: str | os.PathLike, preferred: str = '', *, archive: str = '') -> str:
  """Finds the weights in a folder, or in the content of an archive.

  The newest of a run's checkpoints is taken, from the last of its phases. A checkpoint is preferred
  to files of other formats beside it, and in the same archive: they are the same network's frozen
  graph and the like.

  Args:
    folder: the folder, or the content.
    preferred: name of the folder whose checkpoint is used if there are several.
    archive: name of the archive that was unpacked to the folder, for messages.

  Returns:
    A checkpoint's prefix, or the path of a file in another format.

  Raises:
    ValueError: if there is nothing, or more than one.
  """
  folder = Path(folder)
  place = f'{archive}, which was unpacked to {folder}' if archive else str(folder)
  if known := checkpoint_files.listed(folder) or checkpoint_files.numbered(folder):
    return known[-1]
  if phase := checkpoint_files.last_phase(folder):
    return checkpoint_files.latest(phase)
  files = _files(folder, place)
  found = [path.with_suffix('') if path.suffix == '.index' else path for path in files
           if path.suffix == '.index' or is_table(path)]
  if not (archive and found):
    beside = {path.parent for path in found}
    found += [path for path in files if _is_other(path) and path.parent not in beside
              and not (path.name == _SAVED_MODEL and _is_saved_model(path.parent))]
  # Files whose names don't tell that they have weights.
  found = found or [path for path in files
                    if path.suffix != '.json' and formats.recognize(str(path))]
  if len(found) > 1 and preferred:
    found = [path for path in found if path.parent.name == preferred] or found
  if len(found) == 1:
    return str(found[0])
  if not found:
    described = ((file.name, other_formats.describe(file)) for file in files[:_LISTED])
    hint = next((f' {name} is {what}' for name, what in described if what), '')
    raise ValueError(f'Expected weights in {place}. Received: '
                     f'{", ".join(path.name for path in files[:_LISTED]) or "no files"}.{hint}')
  if len({path.parent for path in found}) == 1 and (found[0].parent / 'checkpoint').exists():
    return checkpoint_files.latest(found[0].parent)
  raise ValueError(f'Expected one checkpoint or other file of weights in {place}. Received '
                   f'several: {", ".join(map(str, found[:_LISTED]))}. Give the path of one of '
                   'them.')


def _files(folder: Path, place: str) -> list[Path]:
  """Lists the files below a folder, except hidden ones."""
  paths = list(itertools.islice(folder.rglob('*'), _MOST_FILES + 1))
  if len(paths) > _MOST_FILES:
    raise ValueError(f'Expected a folder with weights and at most {_MOST_FILES:,} other files. '
                     f'Received: {place}, which has more. Give the path of the weights.')
  return sorted(path for path in paths if path.is_file() and not path.name.startswith('.'))


def _is_other(path: Path) -> bool:
  """Tells whether a file has weights in a format other than a checkpoint's, by its name."""
  return path.suffix in _OTHERS or (path.suffix == '.json' and has_manifest(path))
