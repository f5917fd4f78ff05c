"""A file server on 127.0.0.1 that misbehaves as tests request."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Callable, Iterator


class _Handler(http.server.BaseHTTPRequestHandler):
  """Serves one file under every address, with the given misbehaviour."""

  def __init__(self, behaviour: dict, *args):
    self.behaviour = behaviour
    super().__init__(*args)

  def do_GET(self):
    content = self.behaviour['content']
    start = int(self.headers.get('Range', 'bytes=0-')[len('bytes='):-1])
    self.behaviour['asked'].append(start)
    if status := self.behaviour.get('status'):
      self.send_error(status)
      return
    if self.behaviour.get('no_ranges'):
      start = 0
    if start and start >= len(content):
      self.send_response(416)
      self.send_header('Content-Range', f'bytes */{len(content)}')
      self.send_header('Content-Length', '0')
      self.end_headers()
      return
    self.send_response(206 if start else 200)
    if not self.behaviour.get('no_length'):
      self.send_header('Content-Length', str(len(content) - start))
    if start:
      self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
    for name, value in self.behaviour.get('headers', {}).items():
      self.send_header(name, value)
    self.end_headers()
    cuts = self.behaviour.get('cuts', [])
    self.wfile.write(content[start:][:cuts.pop(0)] if cuts else content[start:])

  def log_message(self, *args):
    pass


@contextlib.contextmanager
def servers() -> Iterator[Callable[..., tuple[str, list[int]]]]:
  """Yields a function that starts a server.

  Yields:
    `start(content, **behaviour) -> (address without a path, log)`; the log lists the start position
    of each request. Behaviours: `cuts`, the number of bytes after which each connection breaks;
    `status`, an HTTP error; `no_ranges`; `no_length`; `headers`, additional ones.
  """
  running = []

  def start(content: bytes, **behaviour):
    behaviour |= {'content': content, 'asked': []}
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                             functools.partial(_Handler, behaviour))
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01},
                              daemon=True)
    thread.start()
    running.append((server, thread))
    return f'http://127.0.0.1:{server.server_port}', behaviour['asked']

  try:
    yield start
  finally:
    for server, thread in running:
      server.shutdown()
      server.server_close()
      thread.join()
