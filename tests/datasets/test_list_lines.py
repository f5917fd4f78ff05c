from __future__ import annotations

import pytest

from datasets import list_lines


def _read(tmp_path, text, **kwargs):
  path = tmp_path / 'list.csv'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return [tuple(line) for line in list_lines.read(path, **kwargs)]


@pytest.mark.parametrize('text, lines', [
  ('"a,b.png",cat\r\n\r\n"say ""hi"".png", "big, black"', [(1, ['a,b.png', 'cat']),
                                                          (3, ['say "hi".png', 'big, black'])]),
  ('"a.png" ,cat\n', [(1, ['a.png', 'cat'])]),
  ('a.png,5" disc\n', [(1, ['a.png', '5" disc'])]),
  ('a.png\t"x\ty"\n', [(1, ['a.png', 'x\ty'])]),
  ('"a b.png"  cat\nc d.png dog\n', [(1, ['a b.png', 'cat']), (2, ['c d.png', 'dog'])]),
  (b'\xef\xbb\xbfa.png;caf\xe9\n', [(1, ['a.png', 'caf\udce9'])]),
  ('', []),
])
def test_cells(tmp_path, text, lines):
  assert _read(tmp_path, text) == lines


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-8-sig'])
def test_encodings(tmp_path, encoding):
  text = 'a.png\tcat\nBlüte.png\tdog\n'.encode(encoding)
  assert _read(tmp_path, text) == [(1, ['a.png', 'cat']), (2, ['Blüte.png', 'dog'])]


def test_delimiter_can_be_set(tmp_path):
  assert _read(tmp_path, '0;1,"a,b;c"\n', delimiter=',') == [(1, ['0;1', 'a,b;c'])]


_MANY = ''.join(f'{i}.png,dog\n' for i in range(20_000))


@pytest.mark.parametrize('text, parts', [
  ('a.png,cat\nb.png,"cat\nc.png,cat\n', ['line 2', 'quote']),
  ('a.png,cat\nb.png,"cat', ['line 2', 'quote']),  # Still open at the end of the file.
  ('a.png,cat\nb.png,"cat\n', ['line 2', 'quote']),
  ('a.png,cat\n"b\n.png",cat\n', ['line 2', 'quote']),  # Closed, but on another line.
  ('a.png,cat\nb.png,"cat\n' + _MANY, ['line 2', 'quote']),  # Longer than csv's field limit.
  ('a.png,cat\n' + _MANY + 'b.png,"cat""\n', ['line 20002', 'quote']),
  ('a.png cat\n"b c.png cat\n', ['line 2', 'quote']),
  ('a.png,cat\nb.png,' + 'x' * 140_000 + '\n', ['line 2', '131072']),
  ('a.png,cat\nb.png,d\0og\n', ['line 2', 'UTF-8']),
  ('a.png\tcat\n'.encode('utf-16') + b'x', ['UTF-16']),
  (_MANY + 'x\0', ['line 20001']),
])
def test_mistakes_are_one_message_with_the_line(tmp_path, text, parts):
  with pytest.raises(ValueError, match='list.csv') as caught:
    _read(tmp_path, text)
  message = str(caught.value)
  assert all(part in message for part in parts), message
  assert len(message) < 400 and '\n' not in message
