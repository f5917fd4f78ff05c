"""Files that stand for others: what they are taken for, and what is said about them."""

from __future__ import annotations

import pytest

from files import placeholders

_LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2156200\n'
_LNK = bytes.fromhex('4c0000000114020000000000c000000000000046') + bytes(60)


@pytest.mark.parametrize(('content', 'said'), [
  (_LFS, ('Git LFS', '2,156,200 bytes', 'git lfs pull')),
  (b'../.git/annex/objects/f8/6W/SHA256E-s1--ab.h5/SHA256E-s1--ab.h5\n', ('git annex get',)),
  (b'<!DOCTYPE html><html><title>Quota exceeded</title>', ('web page', "'Quota exceeded'")),
  (b'\xef\xbb\xbf\n <html lang="en"><head><title>\n Sign&nbsp;in', ("'Sign in'",)),
  (b'<!-- x --><HTML><body>' + b'\xff' * 9, ('web page',)),
  (b'<html>' + 'ü'.encode() * 2 ** 16, ('web page',)),
  (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', ("'AccessDenied'",)),
  (b'{"message": "Not Found", "status": "404"}', ("'Not Found'",)),
  (_LNK, ('shortcut of Windows',)),
  (b'[InternetShortcut]\r\nURL=https://example.org/w.h5\r\n', ('https://example.org/w.h5',)),
  (b'\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X', ('AppleDouble',)),
], ids=lambda value: None if isinstance(value, bytes) else value[0])
def test_placeholders_are_recognized_whatever_their_name(tmp_path, content, said):
  path = tmp_path / 'weights.h5'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'weights\.h5: expected weights\. Received: ') as caught:
    placeholders.refuse(path, 'weights')
  assert all(words in str(caught.value) for words in said)


@pytest.mark.parametrize('content', [
  b'', b'\x89HDF\r\n\x1a\n', b'hello', b'{"modelTopology": {}, "weightsManifest": []}', b'[1, 2]',
  b'{"message"', b'{"train": 1}', b'<net name="x" version="11">', b'\xff\xd8\xff\xe0'])
def test_other_files_are_not(tmp_path, content):
  path = tmp_path / 'x'
  path.write_bytes(content)
  assert placeholders.recognize(path) is None


def test_links_to_nothing(tmp_path):
  (tmp_path / 'x.h5').symlink_to('blobs/abc')
  assert 'blobs/abc' in str(placeholders.recognize(tmp_path / 'x.h5'))
  assert placeholders.recognize(tmp_path / 'missing') is None
  assert placeholders.recognize(tmp_path) is None


@pytest.mark.parametrize(('name', 'beside', 'sign'), [
  ('x.h5.crdownload', '', 'the suffix .crdownload'), ('Unconfirmed 1.PART', '', 'the suffix .part'),
  ('x.h5', 'x.h5.aria2', 'x.h5.aria2 beside it'), ('x.h5', '', '')])
def test_partial_downloads(tmp_path, name, beside, sign):
  if beside:
    (tmp_path / beside).touch()
  assert placeholders.partial_download(tmp_path / name) == sign
