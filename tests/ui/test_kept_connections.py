"""A connection that the service closes while the page takes it up again is no reason to call the service away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from app.serve import new_server
from app.settings import Settings as ServiceSettings
from app.ui.api_client import KEPT_SECONDS_MAX, ApiClient, ApiDownError
from app.ui.application import create_app
from app.ui.settings import Settings

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def client_of_a_service_that_answers(times):
    """Each connection is answered so many times and closed on the next request; how many requests came, in a list."""
    came, ended = [], []

    async def serve(reader, writer):
        ended.append(asyncio.current_task())
        for place in range(times + 1):
            head = await reader.read(4096)
            if not head:
                break
            came.append(head.split(b" ", 1)[0].decode())
            if place < times:
                writer.write(ANSWER)
                await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        yield ApiClient(http, lambda: 0.0), came
    await asyncio.gather(*ended)


def test_a_question_is_asked_again_on_another_connection():
    async def ask_twice():
        async with client_of_a_service_that_answers(1) as (api, came):
            return [(await api.open_to_all("/version")).status_code for _ in range(2)], came, api.failures

    assert asyncio.run(ask_twice()) == ([200, 200], ["GET", "GET", "GET"], 0)


def test_a_service_that_never_answers_is_away_after_the_second_try():
    async def ask_once():
        async with client_of_a_service_that_answers(0) as (api, came):
            with pytest.raises(ApiDownError):
                await api.open_to_all("/version")
            return came, api.failures

    assert asyncio.run(ask_once()) == (["GET", "GET"], 1)


def test_what_may_have_been_done_is_not_sent_again():
    async def send():
        async with client_of_a_service_that_answers(0) as (api, came):
            with pytest.raises(ApiDownError):
                await api._sent(api._http.build_request("POST", "/v1/retrains"))
            return came

    assert asyncio.run(send()) == ["POST"]


def test_an_idle_connection_is_given_up_before_the_service_closes_it():
    async def pooled():
        http = create_app(Settings()).state.http
        await http.aclose()
        return http._transport._pool._keepalive_expiry

    assert asyncio.run(pooled()) == KEPT_SECONDS_MAX
    assert new_server(FastAPI(), ServiceSettings()).config.timeout_keep_alive > KEPT_SECONDS_MAX
