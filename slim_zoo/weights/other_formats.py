"""Files of weights that cannot be read here, and files that are no weights, with what to do.

They are recognized by their content. The commands in the messages run where PyTorch is installed.
"""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from collections.abc import Callable, Sequence

from files import placeholders

_HEAD = 4096
_STATE_DICT = ('save its state dict where the file was made: python -c "import torch; '
               'torch.save({}.state_dict(), \'state_dict.pth\')"')
_AS_OTHERS = ('Use the file that it was converted from, or a .safetensors, .pth, .h5, .tflite or '
              '.pb file of the same network.')


@dataclasses.dataclass(frozen=True)
class _Kind:
  """A format that is recognized in order to refuse it.

  Attributes:
    what: description with an article.
    advice: what to do; `{path}` is the file's path.
    matches: `matches(head, members)`, from the first bytes and the names in a zip archive.
  """
  what: str
  advice: str
  matches: Callable[[bytes, Sequence[str]], bool]


def _begins(*starts: bytes) -> Callable[[bytes, Sequence[str]], bool]:
  return lambda head, names: head.startswith(starts)


def _is_onnx(head: bytes, names: Sequence[str]) -> bool:
  """ONNX' ModelProto begins with its version of 3 or more; a SavedModel with the version 1."""
  if head[8:9] == b'{':  # A safetensors file.
    return False
  return re.match(rb'\x08[\x03-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]', head) is not None


def _is_openvino(head: bytes, names: Sequence[str]) -> bool:
  return re.match(rb'(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<net\s[^>]*version=', head) is not None


def _is_torch_script(head: bytes, names: Sequence[str]) -> bool:
  inner = {name.partition('/')[2] for name in names}
  return 'data.pkl' in inner and ('constants.pkl' in inner or any(
    name.startswith('code/') for name in inner))


_UNPACK = 'Unpack it first, and give the path of the file in it.'
_KINDS = (
  _Kind('an ONNX model', _AS_OTHERS, _is_onnx),
  _Kind('an OpenVINO model (.xml with its .bin)', _AS_OTHERS, _is_openvino),
  _Kind('a TorchScript program of PyTorch', 'To use its weights, ' + _STATE_DICT.format(
    "torch.jit.load('{path}', map_location='cpu')"), _is_torch_script),
  _Kind('a GGUF file', _AS_OTHERS, _begins(b'GGUF')),
  _Kind('a Core ML package', _AS_OTHERS,
        lambda head, names: any('.mlmodel' in name for name in names)),
  _Kind('an image', 'Give the path of the weights.', _begins(
    b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'GIF8')),
  _Kind('a PDF document', 'Give the path of the weights.', _begins(b'%PDF-')),
  _Kind('a 7-Zip archive', _UNPACK, _begins(b'7z\xbc\xaf\x27\x1c')),
  _Kind('a RAR archive', _UNPACK, _begins(b'Rar!\x1a\x07')),
)

# Modules with functions that run code or programs, as they appear in pickles that attack.
_DANGEROUS = ('__builtin__', 'asyncio', 'bdb', 'builtins', 'code', 'commands', 'ctypes', 'httplib',
              'importlib', 'marshal', 'nt', 'operator', 'os', 'pdb', 'pickle', 'pip', 'posix',
              'pty', 'requests', 'runpy', 'shutil', 'socket', 'ssl', 'subprocess', 'sys', 'timeit',
              'urllib', 'webbrowser')


def describe(path: str | os.PathLike[str]) -> str:
  """Describes a file that is no weights, or weights in a format that cannot be read.

  Returns:
    What it is and what to do, for after 'Received: '; '' for anything else.
  """
  if found := placeholders.recognize(path):
    return str(found)
  if not os.path.isfile(path):
    return ''
  path = os.fspath(path)
  if '.data-' in os.path.basename(path):  # Any numbers.
    return ''
  with open(path, 'rb') as file:
    head = file.read(_HEAD)
  if not head:
    return 'an empty file. Download or copy it again.'
  names: list[str] = []
  if head.startswith(b'PK\x03\x04'):
    try:
      with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError):
      return f'a zip archive, as PyTorch and Keras write them, {_incomplete(path)}'
  kind = next((kind for kind in _KINDS if kind.matches(head, names)), None)
  if kind:
    return f'{kind.what}. {kind.advice.replace("{path}", path)}'
  if os.path.isfile(weights := f'{os.path.splitext(path)[0]}.xml') and path.endswith('.bin'):
    return describe(weights)  # The numbers of an OpenVINO model.
  return ''


def _incomplete(path: str) -> str:
  sign = placeholders.partial_download(path)
  because = f': its download is not complete, as {sign} shows' if sign else ''
  return f'that is cut short or damaged{because}. Download or copy it again.'


def refuse(path: str | os.PathLike[str]) -> None:
  """Refuses a file that `describe` knows.

  Raises:
    ValueError: if it is one; the message says what to do.
  """
  if found := describe(path):
    raise ValueError(f'{os.fspath(path)}: expected weights. Received: {found}')


def whole_module(name: str) -> str:
  """Describes a file of PyTorch with an object other than tensors, such as a whole module.

  Args:
    name: the class of the object, with its module.
  """
  if name.partition('.')[0] in _DANGEROUS:
    return (f'{name}, which weights do not need and which can run any program. Do not load this '
            'file with any program; get it from its authors.')
  return (f'an object of the class {name}, such as a whole module. It is not loaded, because '
          'objects run code when they are loaded. If you trust it, save only its '
          'model.state_dict() with the program that made it.')
