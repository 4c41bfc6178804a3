"""
When the certificate of an https address ends, as a client would see it.

Knows no Prometheus. Trusts nothing and checks nothing: one that has ended, or that nobody signed, has to be read too.
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from urllib.parse import urlsplit

from cryptography import x509

HTTPS_PORT = 443
TIMEOUT_SECONDS = 5.0
"""To connect, and for each step of the handshake."""


class CertificateError(RuntimeError):
    """There is an answer and no certificate in it; the message is fit for a log."""


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an https address. Raises ValueError for any other."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("a certificate's address begins with https:// and names a host")
    return parts.hostname, parts.port or HTTPS_PORT


def certificate_end(url: str) -> datetime:
    """Last moment of the certificate that `url` shows. Raises OSError where nobody answers, and CertificateError."""
    host, port = address_of(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    if not shown:
        raise CertificateError("the address shows no certificate")
    try:
        return x509.load_der_x509_certificate(shown).not_valid_after_utc
    except ValueError as error:
        raise CertificateError("the address shows a certificate that cannot be read") from error
