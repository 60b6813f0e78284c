"""The system of bench_sim.yaml as a SimPy model, for bench_sim.rs to stand beside.

It plays the same outages and takes the same times: probes at their interval, quicker while in doubt, fall and rise counts, a
witness that is asked at the first failure, a journal with group commit before anything is done, the cut, the promotion, the
table, the verification, and the way back. It decides nothing else, keeps no state that outlives a crash, and checks nothing.

    python3 bench_sim.py CYCLES SECONDS_A_CYCLE
"""

import sys
import time

import simpy

ROUND_TRIP = 0.002
SYNC = 0.005
APPLY = 0.007
ACTION = 0.020
INTERVAL = 1.0
FAST_INTERVAL = 0.25
FALL = 3
RISE = 2
STABLE_FOR = 2.0
FIRST, REPAIRED, SECOND = 3.1, 2.0, 6.5


class Server:
    def __init__(self):
        self.up = True


class Journal:
    """Whatever is written while a sync is under way is durable with it."""

    def __init__(self, env):
        self.env = env
        self.syncing = None
        self.records = 0

    def write(self, records):
        self.records += records
        if self.syncing is None:
            self.syncing = self.env.process(self.sync())
        return self.syncing

    def sync(self):
        yield self.env.timeout(SYNC)
        self.syncing = None


class Probe:
    """Asks from start to start; says when its verdict changes."""

    def __init__(self, env, server, failed=None, changed=None):
        self.env, self.server = env, server
        self.failed, self.changed = failed, changed
        self.failures = self.goods = 0
        self.verdict = None
        self.answered = 0.0
        env.process(self.run())

    def run(self):
        while True:
            started, good = self.env.now, self.server.up
            yield self.env.timeout(ROUND_TRIP)
            self.take(good, started)
            spacing = FAST_INTERVAL if self.in_doubt() else INTERVAL
            yield self.env.timeout(max(0.0, started + spacing - self.env.now))

    def take(self, good, started):
        if good:
            self.failures, self.goods, self.answered = 0, self.goods + 1, started
        else:
            self.failures, self.goods = self.failures + 1, 0
            if self.failed is not None:
                self.failed(started)
        verdict = self.verdict
        if self.failures >= FALL:
            verdict = False
        elif self.goods >= RISE or (verdict is None and good):
            verdict = True
        if verdict is not self.verdict:
            self.verdict = verdict
            if self.changed is not None:
                self.changed(verdict)

    def in_doubt(self):
        if self.verdict:
            return self.failures > 0
        return self.goods > 0 or self.verdict is None


class Site:
    def __init__(self, env):
        self.env = env
        self.journal = Journal(env)
        self.servers = {name: Server() for name in ("orders-db", "orders-db-b", "web", "gateway")}
        self.serving = "orders-db"
        self.went_down = {}
        self.took, self.moves, self.epoch = [], 0, 0
        self.witness = Probe(env, self.servers["gateway"])
        self.probes = {
            "orders-db": Probe(env, self.servers["orders-db"], self.ask_witness, self.database_changed),
            "orders-db-b": Probe(env, self.servers["orders-db-b"], self.ask_witness),
            "web": Probe(env, self.servers["web"], self.ask_witness, self.web_changed),
        }
        self.asked_witness = False
        self.whole = 0

    def ask_witness(self, since):
        if self.witness.answered < since and not self.asked_witness:
            self.asked_witness = True
            self.env.process(self.question())

    def question(self):
        started = self.env.now
        yield self.env.timeout(ROUND_TRIP)
        self.asked_witness = False
        if self.servers["gateway"].up:
            self.witness.answered = max(self.witness.answered, started)

    def publish(self, records):
        """A table is served once its record is durable and the traffic process has taken it."""
        yield self.journal.write(records)
        yield self.env.timeout(APPLY)
        self.epoch += 1
        self.journal.write(1)

    def act(self, records):
        yield self.journal.write(records)
        yield self.env.timeout(ACTION)
        self.journal.write(1)

    def verify(self, name):
        while True:
            yield self.env.timeout(ROUND_TRIP)
            if self.servers[name].up:
                return
            yield self.env.timeout(FAST_INTERVAL)

    def fail(self, name):
        self.went_down[name] = self.env.now
        self.servers[name].up = False

    def repair(self, name):
        self.servers[name].up = True

    def database_changed(self, healthy):
        if healthy is False and self.serving == "orders-db":
            self.env.process(self.take_over())
        elif healthy and self.serving == "orders-db-b":
            self.whole += 1
            self.env.process(self.go_back(self.whole))

    def web_changed(self, healthy):
        if healthy is False:
            self.env.process(self.restart())
        else:
            self.env.process(self.publish(2))

    def take_over(self):
        """Detect, decide, cut, promote, hand over, verify."""
        yield from self.publish(8)
        yield from self.act(2)
        self.serving = "orders-db-b"
        yield from self.publish(3)
        yield from self.verify(self.serving)
        self.completed("orders-db", 3)

    def go_back(self, whole):
        """Rejoin; once it has been whole for long enough cut, catch up, demote, promote, hand over, verify."""
        yield from self.publish(4)
        yield self.env.timeout(STABLE_FOR - SYNC - APPLY)
        if whole != self.whole or not self.servers["orders-db"].up:
            return
        yield from self.publish(3)
        yield from self.verify("orders-db")
        yield from self.act(3)
        yield from self.act(2)
        self.serving = "orders-db"
        yield from self.publish(4)
        yield from self.verify(self.serving)
        self.moves += 1
        yield from self.publish(5)

    def restart(self):
        """Detect, decide, take it off the shared route, restart, verify."""
        self.env.process(self.publish(7))
        yield from self.act(0)
        self.servers["web"].up = True
        yield from self.verify("web")
        self.completed("web", 3)

    def completed(self, name, records):
        self.journal.write(records)
        self.took.append(self.env.now - self.went_down[name])


def outages(env, site, cycles, cycle):
    yield env.timeout(FIRST)
    for nth in range(cycles):
        begin = FIRST + nth * cycle
        site.fail("orders-db")
        yield env.timeout(REPAIRED)
        site.repair("orders-db")
        yield env.timeout(SECOND - REPAIRED)
        site.fail("web")
        yield env.timeout(begin + cycle - env.now)


def main():
    cycles, cycle = int(sys.argv[1]), float(sys.argv[2])
    began = time.process_time()
    env = simpy.Environment()
    site = Site(env)
    env.process(outages(env, site, cycles, cycle))
    env.run(until=FIRST + cycles * cycle)
    spent = time.process_time() - began
    print(len(site.took), site.moves, sum(site.took) / max(1, len(site.took)), spent)


main()
