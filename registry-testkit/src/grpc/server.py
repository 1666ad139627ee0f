"""A gRPC server that says who it is; the one argument is a description of what is wanted, as JSON.

/test.Echo/Echo answers with the server's id, a newline and the request; /test.Echo/Stream with the id again and again
until the client goes; /grpc.health.v1.Health/Check with SERVING, or with NOT_SERVING once it was told so.
"""

import json
import os
import sys
import time
from concurrent import futures

config = json.loads(sys.argv[1])
sys.path.insert(0, config["packages"])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import grpc  # noqa: E402
from lines import converse  # noqa: E402

IDENTITY = config["id"].encode()

# A message of one field, the number 1, with the value 1 or 2.
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"

state = {"health": SERVING, "calls": 0}


def echo(request, _context):
    state["calls"] += 1
    return IDENTITY + b"\n" + request


def stream(_request, context):
    while context.is_active():
        yield IDENTITY
        time.sleep(0.05)


def check(_request, _context):
    return state["health"]


def methods(service, handlers):
    return grpc.method_handlers_generic_handler(service, handlers)


server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=16),
    # Two servers at one address would each get a part of the calls.
    options=[("grpc.so_reuseport", 0)],
)
server.add_generic_rpc_handlers(
    (
        methods(
            "test.Echo",
            {
                "Echo": grpc.unary_unary_rpc_method_handler(echo),
                "Stream": grpc.unary_stream_rpc_method_handler(stream),
            },
        ),
        methods("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}),
    )
)
if "key" in config:
    credentials = grpc.ssl_server_credentials(
        [(config["key"].encode(), config["certificate"].encode())],
        root_certificates=config["authority"].encode(),
        require_client_auth=True,
    )
    port = server.add_secure_port(config["address"], credentials)
else:
    port = server.add_insecure_port(config["address"])
server.start()


def answer(question):
    if "serving" in question:
        state["health"] = SERVING if question["serving"] else NOT_SERVING
        return {}
    if "calls" in question:
        return {"calls": state["calls"]}
    if "end" in question:
        # No new calls; those under way have that many seconds.
        server.stop(question["end"]).wait()
        return {}
    raise ValueError(f"unknown question {question}")


converse(config["socket"], {"port": port}, answer)
