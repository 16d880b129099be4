"""A proxy that ends TLS in front of a gateway, as operators have one: for the dashboard over HTTPS."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PIECE: Final = 65_536
HEAD_END: Final = b"\r\n\r\n"
WAIT_S: Final = 30.0


@contextmanager
def https(url: str, home: Path) -> Iterator[str]:
    """Serve what is at `url` over HTTPS, with a certificate of its own that nobody trusts; yield the address."""
    context = _context(home)
    upstream = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, context, (upstream.hostname, upstream.port), over))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join(WAIT_S)


def _context(home: Path) -> ssl.SSLContext:
    key, certificate = home / "key.pem", home / "certificate.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = (*new, "-days", "1", "-keyout", str(key), "-out", str(certificate), *subject)
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _serve(listener: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int], over: threading.Event) -> None:
    listener.settimeout(0.2)
    threads: list[threading.Thread] = []
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            plain, _ = listener.accept()
            thread = threading.Thread(target=_one, args=(plain, context, upstream, over))
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join(WAIT_S)


def _one(plain: socket.socket, context: ssl.SSLContext, upstream: tuple[str, int], over: threading.Event) -> None:
    """Pass one request on, saying that it came by HTTPS, and its answer back; then close."""
    plain.settimeout(WAIT_S)
    try:
        with context.wrap_socket(plain, server_side=True) as client:
            request = _request(client)
            if not request:
                return
            with socket.create_connection(upstream, timeout=WAIT_S) as server:
                server.sendall(request)
                server.settimeout(0.2)
                while not over.is_set():
                    with contextlib.suppress(TimeoutError):
                        piece = server.recv(PIECE)
                        if not piece:
                            return
                        client.sendall(piece)
    except OSError:  # the browser has left, or has been told not to trust us
        return


def _request(client: ssl.SSLSocket) -> bytes:
    received = b""
    while HEAD_END not in received:
        piece = client.recv(PIECE)
        if not piece:
            return b""
        received += piece
    head, _, body = received.partition(HEAD_END)
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"x-forwarded-"))]
    lengths = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:")]
    while len(body) < sum(lengths):
        body += client.recv(PIECE)
    return b"\r\n".join([*lines, b"Connection: close", b"X-Forwarded-Proto: https"]) + HEAD_END + body
