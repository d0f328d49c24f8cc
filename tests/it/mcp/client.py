"""An agent on PyPI's `mcp` package, driven by a test over lines of JSON.

Usage: client.py MODE COMMAND...   MODE is that of `mcp.Client`; COMMAND starts the adapter.

First it writes the protocol version and the names of the tools; then for each line `{"tool", "arguments"}` of its
input a line `{"failed", "texts"}`. The end of its input is the end of the adapter's.
"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters


def tell(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


async def main(mode: str, command: str, *arguments: str) -> None:
    # Without this the adapter would get a few harmless variables only, and find another mesh.
    adapter = StdioServerParameters(command=command, args=list(arguments), env=dict(os.environ))
    async with Client(adapter, mode=mode) as client:
        listed = await client.list_tools()
        tell(protocol=client.protocol_version, tools=[tool.name for tool in listed.tools])
        while line := await asyncio.to_thread(sys.stdin.readline):
            call = json.loads(line)
            result = await client.call_tool(call["tool"], call["arguments"])
            tell(failed=bool(result.is_error), texts=[block.text for block in result.content])


asyncio.run(main(*sys.argv[1:]))
