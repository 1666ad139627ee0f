"""Registers an instance with py-eureka-client, renews its lease, and cancels it when it is asked to end.

The one argument is what registrant.rs describes, as JSON.
"""

import asyncio
import json
import signal
import sys

config = json.loads(sys.argv[1])
sys.path.insert(0, config["packages"])

from py_eureka_client.eureka_client import EurekaClient  # noqa: E402


async def main():
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    client = EurekaClient(
        eureka_server=config["server"],
        app_name=config["app"],
        instance_id=config["id"],
        instance_host=config["host"],
        instance_ip=config["ip"],
        instance_port=config["port"] or 8080,
        instance_unsecure_port_enabled=config["port"] is not None,
        instance_secure_port=config["securePort"] or 8443,
        instance_secure_port_enabled=config["securePort"] is not None,
        vip_adr=config["vip"] or "",
        secure_vip_addr=config["secureVip"] or "",
        renewal_interval_in_secs=config["renewal"],
        duration_in_secs=config["duration"],
        metadata=config["metadata"],
        should_discover=False,
    )
    await client.start()
    print("registered", flush=True)
    await end.wait()
    await client.stop()
    print("cancelled", flush=True)


asyncio.run(main())
