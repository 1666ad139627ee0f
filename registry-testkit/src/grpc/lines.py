"""The conversation with the test that started a program: lines of JSON over a Unix socket, one answer to each question."""

import json
import socket


def converse(path, hello, answer):
    """Says hello, then answers questions until the test goes. What goes wrong is the answer, as {"error": …}."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(path)
        with stream.makefile("rw") as lines:

            def say(value):
                lines.write(json.dumps(value) + "\n")
                lines.flush()

            say(hello)
            for line in lines:
                try:
                    said = answer(json.loads(line))
                except Exception as error:  # the test decides what to make of it
                    said = {"error": repr(error)}
                say(said)
