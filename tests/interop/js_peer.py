"""js-libp2p as a peer of the suite: a Node.js process that is told what to do."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import trio

from tests.interop import node
from tests.interop.plays import Result
from tests.interop.wire import Place


class Js:
    """One process for all tests; each test has fresh peers in it."""

    name = "js"

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def serve(self) -> AbstractAsyncContextManager[Place]:
        return self._serving({"do": "serve"})

    def relay(self) -> AbstractAsyncContextManager[Place]:
        """A circuit relay v2 server."""
        return self._serving({"do": "relay"})

    def reserved(self, relay: Place) -> AbstractAsyncContextManager[Place]:
        """A peer that is reached through the relay alone."""
        return self._serving({"do": "reserve", "address": f"{relay.address}/p2p/{relay.peer_id}"})

    async def visit(self, place: Place) -> Result:
        """What a fresh peer sees of identify, ping and echo."""
        address = f"{place.address}/p2p/{place.peer_id}"
        said = await self._tell({"do": "visit", "address": address})
        return cast(Result, said["result"])

    @asynccontextmanager
    async def _serving(self, command: Result) -> AsyncIterator[Place]:
        said = await self._tell(command)
        try:
            yield Place(said["address"], bytes.fromhex(said["key"]), said["peer"])
        finally:
            with trio.CancelScope(shield=True):
                await self._tell({"do": "stop"})

    async def play(self, name: str, place: Place) -> Result:
        address = f"{place.address}/p2p/{place.peer_id}"
        said = await self._tell({"do": "play", "play": name, "address": address})
        return cast(Result, said["result"])

    def stop(self) -> None:
        """End the process; the next command would start another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    async def _tell(self, command: Result) -> dict[str, Any]:
        said = await trio.to_thread.run_sync(
            self._tell_now,
            command,
            abandon_on_cancel=True,  # type: ignore[call-arg]  # trio-typing is older than trio
        )
        if "error" in said:
            raise AssertionError(f"js-libp2p: {said['error']}")
        return said

    def _tell_now(self, command: Result) -> dict[str, Any]:
        if self._process is None:
            node.install()
            self._process = subprocess.Popen(
                ["node", "peer.mjs"],
                cwd=node.FOLDER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        return cast(dict[str, Any], json.loads(process.stdout.readline()))
