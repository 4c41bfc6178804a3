"""When the certificate of an address ends, whatever it is worth."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest

from app import exporter
from app.exporter_certificate import address_of, certificate_end
from app.exporter_sources import certificate
from tests.observability.scraped import https_server
from tests.real_parts import free_port

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
PAST = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)


@pytest.mark.parametrize("ends", [SOON, PAST])
def test_its_end_is_told_whether_it_has_passed_or_not_and_whoever_signed_it(tmp_path, ends):
    with https_server(tmp_path, ends) as address:
        found = certificate_end(address)
        readings = certificate(address)

    assert found == ends
    assert [(each.metric.name, each.value) for each in readings] == [
        ("adloom_certificate_expiry_timestamp_seconds", ends.timestamp())
    ]


def test_where_nobody_listens_there_is_an_error():
    with pytest.raises(OSError, match="refused"):
        certificate_end(f"https://127.0.0.1:{free_port()}")


def test_where_nobody_speaks_tls_there_is_one_too():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(OSError, match="timed out"):
            certificate_end(f"https://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://ads.example.com", ("ads.example.com", 443)),
        ("https://ads.example.com:8443/x", ("ads.example.com", 8443)),
        ("https://[::1]:1", ("::1", 1)),
    ],
)
def test_host_and_port_are_those_of_the_address(url, address):
    assert address_of(url) == address


@pytest.mark.parametrize("url", ["http://ads.example.com", "https://", "ads.example.com"])
def test_any_other_address_is_a_wrong_argument(url, capsys):
    assert exporter.main(["--certificate", url]) == 2
    assert "begins with https://" in capsys.readouterr().err
