"""What is known about a file with published weights."""

from __future__ import annotations

import dataclasses

from files.downloads import Resource
from preprocessing.transform import Transform

_GZIP, _HDF5, _ZIP = b'\x1f\x8b', b'\x89HDF\r\n\x1a\n', b'PK\x03\x04'
# PyTorch's own files are zip archives.
_HEADS = {'.tgz': _GZIP, '.tar.gz': _GZIP, '.h5': _HDF5, '.bin': _ZIP}


def head_of(url: str) -> bytes:
  """Returns the first bytes of the file at an address, as far as its name tells; else b''."""
  return next((head for ending, head in _HEADS.items() if url.endswith(ending)), b'')


@dataclasses.dataclass(frozen=True)
class PublishedFile:
  """A file with weights for one of our networks, trained on ImageNet.

  Attributes:
    network: its name in `nets_factory.NETS`.
    url: its address.
    mirrors: other addresses, which are tried in this order if the first fails. A string is the
      address of the same file; a resource has the same weights in another form.
    name: the file's name on disk; '' for the last part of the address.
    size: in bytes; None if it was not published.
    digest: (kind, hexadecimal digits), see `files.downloads.Resource`; None if none was published.
    classes: width of the logits: 1,000, or 1,001 if the first is the background; None for files
      without the classifier.
    dialect: name of the `Dialect` of its names, if others have the same names for weights that are
      used differently.
    preprocessing: the recipe that the weights are used with; None if the names in the file tell
      it, see `Dialect.preprocessing`.
    transform: how images were prepared when their accuracy was measured; None if that is what the
      recipe does.
    image_size: height and width that they were trained or measured with; None as above.
    channel_order: 'rgb' or 'bgr', the order that the first layer expects, if the file does not say.
    folder: name of the folder in the archive whose checkpoint is used if there are several.
    top_1, top_5: the accuracy that was published for this file, see `published_accuracies`; None
      if none was.
  """
  network: str
  url: str
  _: dataclasses.KW_ONLY
  mirrors: tuple[str | Resource, ...] = ()
  name: str = ''
  size: int | None = None
  digest: tuple[str, str] | None = None
  classes: int | None = 1000
  dialect: str | None = None
  preprocessing: str | None = None
  transform: Transform | None = None
  image_size: int | None = None
  channel_order: str | None = None
  folder: str = ''
  top_1: float | None = None
  top_5: float | None = None

  @property
  def is_archive(self) -> bool:
    """Whether the weights are in an archive."""
    return self.url.endswith(('.tgz', '.tar.gz'))

  @property
  def resource(self) -> Resource:
    """The file, to download, with its mirrors."""
    first = Resource(self.url, self.size, self.digest, head_of(self.url), self.name)
    return first._replace(mirrors=tuple(
        mirror if isinstance(mirror, Resource) else
        first._replace(url=mirror, name=first.filename) for mirror in self.mirrors))

  def metadata(self) -> dict:
    """Facts about the weights, by the names used in checkpoints' metadata."""
    known = {'model_name': self.network, 'classes': self.classes,
             'dialect': self.dialect, 'preprocessing_name': self.preprocessing,
             'image_size': self.image_size,
             'transform': self.transform.to_json() if self.transform else None,
             'channel_order': self.channel_order}
    return {key: value for key, value in known.items() if value is not None}
