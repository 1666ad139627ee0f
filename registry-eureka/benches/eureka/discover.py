"""Fetches the whole registry with py-eureka-client, and says what that took.

The one argument is JSON: where the client is installed, and the base URL of the server.
"""

import asyncio
import json
import resource
import sys
import time

config = json.loads(sys.argv[1])
sys.path.insert(0, config["packages"])

from py_eureka_client.eureka_client import EurekaClient  # noqa: E402


def memory(field):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))


async def main():
    start = time.monotonic()
    client = EurekaClient(eureka_server=config["server"], should_register=False)
    await client.start()
    wall = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    instances = sum(len(app.instances) for app in client.applications.applications)
    cost = {
        "instances": instances,
        "cpu_ms": int((usage.ru_utime + usage.ru_stime) * 1000),
        "wall_ms": int(wall * 1000),
        "rss": memory("VmRSS:"),
        "peak": memory("VmHWM:"),
    }
    print(json.dumps(cost), flush=True)
    await client.stop()


asyncio.run(main())
