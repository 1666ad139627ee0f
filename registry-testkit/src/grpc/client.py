"""A gRPC client that calls what a test tells it to; the one argument is a description of what is wanted, as JSON."""

import importlib
import json
import os
import sys
import threading
import time
from collections import Counter
from concurrent import futures

config = json.loads(sys.argv[1])
sys.path.insert(0, config["packages"])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# Before the library is loaded, which reads them once.
os.environ.update(config["environment"])

import grpc  # noqa: E402
import grpc.experimental  # noqa: E402
from google.protobuf import json_format  # noqa: E402
from grpc_csds import ClientStatusDiscoveryServiceServicer as Csds  # noqa: E402
from lines import converse  # noqa: E402

# What a client is sent, so that it can be told as JSON: messages inside of others are only known once they are loaded.
for known in (
    "envoy.config.cluster.v3.cluster_pb2",
    "envoy.config.endpoint.v3.endpoint_pb2",
    "envoy.config.listener.v3.listener_pb2",
    "envoy.config.route.v3.route_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
):
    importlib.import_module(known)

# A detail's text is kept that often.
KEPT = 100

channels = {}


def channel(question):
    key = (question["target"], question.get("authority"), question.get("by_xds", False))
    if key not in channels:
        options = [("grpc.default_authority", key[1])] if key[1] else []
        if key[2]:
            plain = grpc.experimental.insecure_channel_credentials()
            credentials = grpc.xds_channel_credentials(plain)
            channels[key] = grpc.secure_channel(key[0], credentials, options=options)
        else:
            channels[key] = grpc.insecure_channel(key[0], options=options)
    return channels[key]


def metadata(question):
    return [(key, value) for key, value in question.get("metadata", [])]


def call(question):
    """One call: who answered, or why nobody did, and how many seconds it took."""
    method = channel(question).unary_unary(question.get("method", "/test.Echo/Echo"))
    start = time.monotonic()
    result = {"server": None, "code": "OK", "details": ""}
    try:
        answer = method(
            b"hello",
            timeout=question["timeout"],
            metadata=metadata(question),
            wait_for_ready=question.get("wait", False),
        )
        server, _, _ = answer.partition(b"\n")
        result["server"] = server.decode(errors="replace")
    except grpc.RpcError as error:
        result["code"] = error.code().name
        result["details"] = error.details() or ""
    result["seconds"] = time.monotonic() - start
    return result


def calls(question):
    workers = max(1, min(question.get("parallel", 1), 32))
    with futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda _: call(question), range(question["calls"])))


def stream(question):
    """Reads that many messages of one stream, and tells what they were."""
    method = channel(question).unary_stream("/test.Echo/Stream")
    found = {"messages": [], "code": "OK", "details": ""}
    answers = method(b"", timeout=question["timeout"], metadata=metadata(question))
    try:
        for message in answers:
            found["messages"].append(message.decode(errors="replace"))
            if len(found["messages"]) == question["messages"]:
                answers.cancel()
                break
    except grpc.RpcError as error:
        found["code"] = error.code().name
        found["details"] = error.details() or ""
    return found


class Load:
    """Calls without a pause worth the name, until it is told to stop."""

    def __init__(self, question):
        self.question = question
        self.ended = threading.Event()
        self.found = []
        self.threads = [threading.Thread(target=self.run) for _ in range(question.get("parallel", 1))]
        for thread in self.threads:
            thread.start()

    def run(self):
        servers, codes, details = Counter(), Counter(), []
        while not self.ended.is_set():
            result = call(self.question)
            codes[result["code"]] += 1
            if result["code"] == "OK":
                servers[result["server"]] += 1
            elif len(details) < KEPT:
                details.append(f"{result['code']}: {result['details']}")
            time.sleep(self.question.get("pause", 0.001))
        self.found.append((servers, codes, details))

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        servers, codes, details = Counter(), Counter(), []
        for found in self.found:
            servers.update(found[0])
            codes.update(found[1])
            details.extend(found[2])
        return {"by_server": servers, "by_code": codes, "details": details}


loads = []


def answer(question):
    kind = question["do"]
    if kind == "calls":
        return {"calls": calls(question)}
    if kind == "stream":
        return stream(question)
    if kind == "csds":
        return json_format.MessageToDict(Csds.FetchClientStatus(None, None))
    if kind == "load":
        loads.append(Load(question))
        return {}
    if kind == "stop":
        return loads.pop().stop()
    if kind == "close":
        for opened in channels.values():
            opened.close()
        channels.clear()
        return {}
    raise ValueError(f"unknown question {question}")


converse(config["socket"], {}, answer)
