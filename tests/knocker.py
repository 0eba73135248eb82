"""Clients that open a connection for every word, to a port that will be closed."""

import socket
import threading
from typing import Self

_PAUSE = 0.005
_PATIENCE = 20


class Knocker:
    """Says `word` on a fresh connection again and again, between `with` and its end.

    `answered` and `refused` count; `cut` are those who were let in and got nothing.
    """

    def __init__(self, port: int, word: bytes, clients: int = 4) -> None:
        self.answered = self.refused = 0
        self.cut: list[str] = []
        self._address = ("127.0.0.1", port)
        self._word = word
        self._stop = threading.Event()
        self._clients = [threading.Thread(target=self._knock) for _ in range(clients)]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join()

    def _knock(self) -> None:
        while not self._stop.is_set():
            try:
                with socket.create_connection(self._address, _PATIENCE) as sock:
                    sock.sendall(self._word)
                    if not sock.recv(100):
                        self.cut.append("no answer")
                self.answered += 1
            except ConnectionRefusedError:
                self.refused += 1
                self._stop.wait(_PAUSE)
            except OSError as error:
                self.cut.append(repr(error))
