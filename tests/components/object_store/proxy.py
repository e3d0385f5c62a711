"""A wire to a server that can be pinched: it holds or damages an upload, loses or changes answers."""

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes on every byte between its own port on loopback and `server`'s, until it is told otherwise."""

    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.held = threading.Event()  # an upload stands still
        self.pass_all()
        threading.Thread(target=self._accept, daemon=True).start()

    def pass_all(self):
        self.hold_after = self.damage_at = self.cut_after = self.refusal = self.change = None
        self.held.clear()
        self.requests, self.fault_from = 0, 1

    def begin_fault(self, request, refusal=None, change=None):
        """From this request on (the first is 1), answer `refusal` in place of the server, nothing if it is
        empty; or give each piece of its answers as `change` returns it, and hang up after one that is cut."""
        self.pass_all()
        self.fault_from, self.refusal, self.change = request, refusal, change

    def close(self):
        self.listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(self.server)
                except OSError:
                    near.close()
                    continue
                threading.Thread(target=self._upwards, args=(near, far), daemon=True).start()
                threading.Thread(target=self._downwards, args=(far, near), daemon=True).start()

    def _upwards(self, near, far):
        """Count the bytes of each PUT, for that is where they are held or damaged."""
        uploaded = 0
        with suppress(OSError), near, far:
            while piece := near.recv(16384):
                if piece.startswith((b"GET", b"HEAD", b"PUT", b"POST", b"DELETE")):
                    self.requests, uploaded = self.requests + 1, 0
                if self.refusal is not None and self.requests >= self.fault_from:
                    near.sendall(self.refusal)
                    while near.recv(16384):
                        pass
                    return
                begin, uploaded = uploaded, uploaded + len(piece)
                if self.hold_after is not None and uploaded > self.hold_after:
                    self.held.set()
                    while near.recv(16384):  # until whoever sends it is killed or gives up
                        pass
                    return
                if self.damage_at is not None and begin <= self.damage_at < uploaded:
                    place = self.damage_at - begin
                    piece = piece[:place] + bytes([piece[place] ^ 1]) + piece[place + 1 :]
                far.sendall(piece)
            far.shutdown(socket.SHUT_RDWR)  # wakes who waits for an answer

    def _downwards(self, far, near):
        passed = 0
        with suppress(OSError), far, near:
            while piece := far.recv(16384):
                passed += len(piece)
                if self.change and self.requests >= self.fault_from:
                    changed = self.change(piece)
                    near.sendall(changed)
                    if len(changed) < len(piece):
                        near.shutdown(socket.SHUT_RDWR)
                        return
                    continue
                if self.cut_after is not None and passed > self.cut_after:
                    self.cut_after = None
                    near.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(piece)
