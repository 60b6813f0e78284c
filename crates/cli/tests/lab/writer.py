#!/usr/bin/env python3
"""Clients that write to both servers all the time, whoever says that it is in charge.

    writer.py FILE NAME=HOST:PORT...

Each acknowledgement becomes a line in FILE: the server, when the order was sent and when it was acknowledged, both in
nanoseconds since the machine started.
"""

import http.client
import socket
import sys
import threading
import time

PAUSE = 0.01
PATIENCE = 0.7


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def write(name, address, first, file, lock):
    host, port = address.rsplit(":", 1)
    connection = None
    order = first
    while True:
        order += 2
        sent = boot_ns()
        try:
            connection = connection or http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
            connection.request("POST", "/orders", str(order))
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                with lock:
                    file.write(f"{name} {sent} {boot_ns()}\n")
                    file.flush()
        except (OSError, http.client.HTTPException):
            if connection:
                connection.close()
            connection = None
        time.sleep(PAUSE)


def witness():
    """Somebody who answers: who reaches this machine has a path that works."""
    with socket.create_server(("", 9)) as listener:
        while True:
            listener.accept()[0].close()


def main():
    threading.Thread(target=witness, daemon=True).start()
    lock = threading.Lock()
    with open(sys.argv[1], "a", encoding="ascii") as file:
        for nth, target in enumerate(sys.argv[2:]):
            name, address = target.split("=", 1)
            threading.Thread(target=write, args=(name, address, nth, file, lock), daemon=True).start()
        threading.Event().wait()


if __name__ == "__main__":
    main()
