"""Files that are not what their names say: pointers, web pages, shortcuts, partial downloads.

They are recognized by their content, because they keep the name of the file they stand for.
"""

from __future__ import annotations

import dataclasses
import html
import json
import os
import re
from collections.abc import Callable

_HEAD = 2 ** 16  # Bytes that are read; all of these files are small, or begin with a signature.
_LONGEST = 120  # Characters of a title or message that are shown.
_AGAIN = 'Download the file again'
_HTML = re.compile(r'(<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(!doctype html|html|head|body|script|meta)\b',
                   re.IGNORECASE | re.DOTALL)
# What browsers and download programs append to the names of files that are not complete.
_PARTIAL = ('.aria2', '.crdownload', '.download', '.incomplete', '.opdownload', '.part', '.partial')


@dataclasses.dataclass(frozen=True)
class Placeholder:
  """A file that stands for another one.

  Attributes:
    what: description with an article, for messages.
    advice: what to do, one or more sentences.
  """
  what: str
  advice: str

  def __str__(self) -> str:
    return f'{self.what}. {self.advice}'


def recognize(path: str | os.PathLike[str]) -> Placeholder | None:
  """Recognizes a file that stands for another one, by its content.

  Args:
    path: any path.

  Returns:
    What it is and what to do; None for anything else, also if there is no such file.
  """
  if not os.path.isfile(path):
    if os.path.islink(path):
      return Placeholder(f'a link to {os.readlink(path)}, which does not exist',
                         'Copy the file itself, or download it again.')
    return None
  with open(path, 'rb') as file:
    head = file.read(_HEAD)
  for signature, placeholder in _SIGNATURES.items():
    if head.startswith(signature):
      return placeholder
  try:  # A character may be cut at the end.
    text = head.decode('utf-8-sig', errors='strict' if len(head) < _HEAD else 'ignore').lstrip()
  except UnicodeDecodeError:
    text = head.decode('latin1').lstrip() if head.lstrip()[:1] == b'<' else ''
  found = (recognizer(text) for recognizer in _OF_TEXT) if text else ()
  return next(filter(None, found), None)


def refuse(path: str | os.PathLike[str], expected: str) -> None:
  """Refuses a file that stands for another one.

  Args:
    path: any path.
    expected: what the file should be, such as 'weights'.

  Raises:
    ValueError: if it is one; the message says what to do.
  """
  if found := recognize(path):
    raise ValueError(f'{os.fspath(path)}: expected {expected}. Received: {found}')


def partial_download(path: str | os.PathLike[str]) -> str:
  """Returns how a path shows that its download is not complete, such as 'the suffix .part'; ''."""
  path = os.fspath(path)
  suffix = os.path.splitext(path)[1].lower()
  if suffix in _PARTIAL:
    return f'the suffix {suffix}'
  beside = next((path + suffix for suffix in _PARTIAL if os.path.exists(path + suffix)), '')
  return f'{os.path.basename(beside)} beside it' if beside else ''


def _shortened(text: str) -> str:
  text = ' '.join(html.unescape(text).split())
  return text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'


def _git_lfs(text: str) -> Placeholder | None:
  if not text.startswith('version https://git-lfs.github.com/spec/'):
    return None
  size = re.search(r'^size (\d{1,15})$', text, re.MULTILINE)
  stands = f', which stands for a file of {int(size[1]):,} bytes' if size else ''
  return Placeholder(f'a pointer of Git LFS{stands}', (
    'Run "git lfs install" and "git lfs pull" in the repository, or download the file itself: on '
    'GitHub and Hugging Face with the download button of its page.'))


def _git_annex(text: str) -> Placeholder | None:
  if not re.match(r'\S{0,200}/annex/objects/\S+\s*$', text):
    return None
  return Placeholder('a pointer of git-annex', 'Run "git annex get" for it in the repository.')


def _web_page(text: str) -> Placeholder | None:
  if not _HTML.match(text):
    return None
  title = re.search(r'<title[^>]*>(.*?)(</title|<|$)', text, re.IGNORECASE | re.DOTALL)
  named = f' with the title {_shortened(title[1])!r}' if title and title[1].strip() else ''
  return Placeholder(f'a web page{named}, saved instead of the file', (
    f'{_AGAIN}: open its address in a browser, where it may ask you to log in, to confirm or to '
    'wait; on GitHub, use the download button of its page.'))


def _xml_error(text: str) -> Placeholder | None:
  found = re.match(r'(<\?xml[^>]*>\s*)?<Error>.*?<Code>(.*?)</Code>', text, re.DOTALL)
  if not found:
    return None
  return Placeholder(f"a server's error message, {_shortened(found[2])!r}, saved instead of the "
                     'file', f'{_AGAIN} from another address.')


def _json_error(text: str) -> Placeholder | None:
  if not text.startswith('{') or len(text) > _HEAD // 2:
    return None
  try:
    found = json.loads(text)
  except (ValueError, RecursionError):
    return None
  message = next((found[key] for key in ('error', 'message', 'detail') if found.get(key)), None)
  if message is None or len(found) > 5:
    return None
  return Placeholder(f"a server's message, {_shortened(str(message))!r}, saved instead of the file",
                     f'{_AGAIN} from another address, or log in first.')


def _shortcut(text: str) -> Placeholder | None:
  if not re.match(r'\[(InternetShortcut|\{000214A0[^\]]*|Desktop Entry)\]', text, re.IGNORECASE):
    return None
  address = re.search(r'^URL=(\S+)', text, re.MULTILINE | re.IGNORECASE)
  target = f' to {_shortened(address[1])}' if address else ''
  return Placeholder(f'a shortcut{target}, not the file itself', (
    'Download what it points to, and give the path of that file.'))


_OF_TEXT: tuple[Callable[[str], Placeholder | None], ...] = (
  _git_lfs, _git_annex, _web_page, _xml_error, _json_error, _shortcut)
_SIGNATURES = {
  bytes.fromhex('4c0000000114020000000000c000000000000046'): Placeholder(
    'a shortcut of Windows (.lnk), not the file itself',
    "Copy the file that it points to; Windows shows its place under the shortcut's Properties."),
  b'book\0\0\0\0mark\0\0\0\0': Placeholder(
    'an alias of macOS, not the file itself', 'Copy the original file.'),
  b'\x00\x05\x16\x07\x00': Placeholder(
    'what macOS keeps beside a file (AppleDouble), not the file itself',
    "Give the path of the file whose name lacks the '._'."),
}
