#!/usr/bin/env python3
"""A switch between network namespaces whose paths can be broken, one direction at a time.

    switch.py PORT...          forwards Ethernet frames between these interfaces of its namespace
    switch.py --plain PORT     has the kernel finish checksums and segments before it sends, as a wire needs it

The N-th port is that of whoever has the hardware address 02:00:00:00:00:0N, from 0. Orders come as lines on the standard
input, each answered by one line:

    cut FROM TO                nothing that FROM sends arrives at TO
    loss FROM TO SHARE         a share of it (0 to 1) does not
    delay FROM TO SECONDS      it arrives so much later
    heal                       everything works again
"""

import ctypes
import fcntl
import heapq
import random
import select
import socket
import struct
import sys
import time

EVERY_PROTOCOL = 3
SIOCETHTOOL = 0x8946
OFFLOADS = {"tx checksums": 0x17, "TCP segmentation": 0x1F, "segmentation": 0x24}


def plain(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for what in OFFLOADS.values():
            value = ctypes.create_string_buffer(struct.pack("II", what, 0))
            request = struct.pack("16sP", port.encode(), ctypes.addressof(value))
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)


class Switch:
    def __init__(self, ports):
        self.sockets = []
        for port in ports:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
            opened.bind((port, 0))
            opened.setblocking(False)
            self.sockets.append(opened)
        self.later = []
        self.nth = 0
        self.heal()

    def heal(self):
        self.cuts, self.losses, self.delays = set(), {}, {}

    def order(self, line):
        match line.split():
            case ["heal"]:
                self.heal()
            case ["cut", a, b]:
                self.cuts.add((int(a), int(b)))
            case ["loss", a, b, share]:
                self.losses[int(a), int(b)] = float(share)
            case ["delay", a, b, seconds]:
                self.delays[int(a), int(b)] = float(seconds)
            case _:
                return "not understood: " + line
        return "ok"

    def take(self, source, frame):
        to = frame[0:6]
        if to[0] & 1:
            targets = [it for it in range(len(self.sockets)) if it != source]
        elif to[:5] == b"\x02\0\0\0\0" and to[5] < len(self.sockets):
            targets = [to[5]]
        else:
            return
        for target in targets:
            way = (source, target)
            if way in self.cuts or random.random() < self.losses.get(way, 0):
                continue
            delay = self.delays.get(way, 0)
            if delay:
                self.nth += 1
                heapq.heappush(self.later, (time.monotonic() + delay, self.nth, target, frame))
            else:
                self.send(target, frame)

    def send(self, target, frame):
        try:
            self.sockets[target].send(frame)
        except OSError:
            pass  # as a wire does it, too: whoever misses it asks again

    def run(self):
        waiting = select.epoll()
        for opened in self.sockets:
            waiting.register(opened.fileno(), select.EPOLLIN)
        waiting.register(sys.stdin.fileno(), select.EPOLLIN)
        by_number = {it.fileno(): nth for nth, it in enumerate(self.sockets)}
        print("ready", flush=True)
        while True:
            due = self.later[0][0] - time.monotonic() if self.later else -1
            for number, _ in waiting.poll(max(due, 0) if self.later else None):
                if number == sys.stdin.fileno():
                    line = sys.stdin.readline()
                    if not line:
                        return
                    print(self.order(line.strip()), flush=True)
                    continue
                source = by_number[number]
                for _ in range(64):
                    try:
                        frame, (_, _, kind, *_) = self.sockets[source].recvfrom(65536)
                    except BlockingIOError:
                        break
                    if kind != socket.PACKET_OUTGOING:
                        self.take(source, frame)
            now = time.monotonic()
            while self.later and self.later[0][0] <= now:
                _, _, target, frame = heapq.heappop(self.later)
                self.send(target, frame)


if __name__ == "__main__":
    if sys.argv[1] == "--plain":
        plain(sys.argv[2])
    else:
        Switch(sys.argv[1:]).run()
