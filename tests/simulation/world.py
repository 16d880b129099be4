"""One simulated cluster: its time, network, database and misfortunes, all drawn from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any, assert_never

from orchestrator.raft import Config, Message, RaftCore, Role
from tests.simulation.checks import Checks, InvariantViolation
from tests.simulation.database import Answer, Outcome, Reply, SimPostgres
from tests.simulation.faults import Fault, Mix, draw_mix
from tests.simulation.node import SimNode

_SLOT_S = 0.5
_WATCH_S = 2.0
_CALM_LATENCY_S = 0.005


class World:
    """Runs one mix; every decision comes from `rng`, so equal arguments run equally."""

    def __init__(
        self,
        rng: random.Random,
        mix: Mix,
        *,
        core_type: type[RaftCore] = RaftCore,
        node_type: type[SimNode] = SimNode,
        database_type: type[SimPostgres] = SimPostgres,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.rng = rng
        self.mix = mix
        self.config = Config()
        self.now_s = 0.0
        self.is_healed = False
        self.checks = Checks(self)
        self.database = database_type(self, _SLOT_S)
        self._trace = trace
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = count()
        self._blocked_until_s: dict[tuple[str, str], float] = {}
        ids = tuple("abcde"[: mix.node_count])
        self.nodes = [node_type(self, node_id, self._voters(node_id, ids), core_type) for node_id in ids]
        self._by_id = {node.id: node for node in self.nodes}
        for node in self.nodes:
            self.at(rng.uniform(0.0, 0.1), node.start)

    def _voters(self, node_id: str, ids: tuple[str, ...]) -> tuple[str, ...]:
        if self.mix.misconfigured and node_id == "a":
            return tuple(sorted({"a", *self.rng.sample(ids, self.rng.randint(0, len(ids)))}))
        return ids

    # Time

    def at(self, when_s: float, action: Callable[..., object], *args: Any) -> None:
        """Schedules an action; those of one moment run in the order they were scheduled."""
        heapq.heappush(self._events, (when_s, next(self._order), action, args))

    def after(self, delay_s: float, action: Callable[..., object], *args: Any) -> None:
        """Schedules an action from now."""
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), action, args))

    def run_until(self, end_s: float) -> None:
        """Runs everything up to a moment."""
        events = self._events
        while events and events[0][0] <= end_s:
            when_s, _, action, args = heapq.heappop(events)
            self.now_s = max(self.now_s, when_s)
            action(*args)
        self.now_s = end_s

    def run(self) -> None:
        """Chaos, healing, and then L1. Raises InvariantViolation."""
        self.after(self.rng.expovariate(1 / self.mix.fault_gap_s), self._strike)
        self.run_until(self.mix.chaos_s)
        self.heal()
        patience = 2 if self.mix.forgets else 1  # after a wiped disk, a first leader only learns the epoch
        self.run_until(self.now_s + patience * 3 * self.config.election_timeout_max_s)
        if not self.mix.misconfigured:
            leader = self.checks.healed()
            term = leader.term
            self.run_until(self.now_s + _WATCH_S)
            self.checks.still_leads(leader, term)

    def due_slot_count(self, margin_s: float) -> int:
        """How many fire times lie further back than the margin."""
        return int((self.now_s - margin_s) / _SLOT_S) + 1

    def note(self, *what: object) -> None:
        """Writes to the trace, if there is one."""
        if self._trace is not None:
            self._trace(f"{self.now_s:9.4f}  " + " ".join(str(part) for part in what))

    # Network, disk and database

    def send(self, message: Message) -> None:
        """Puts a message on the network."""
        if self._trace is not None:
            self.note("  ", message.from_, "→", message.to, message.type, message.term, message.ok, message.seq % 1000)
        if self._blocked_until_s.get((message.from_, message.to), 0.0) > self.now_s:
            return
        rng, mix = self.rng, self.mix
        delay_s = 0.0005 + rng.random() * (_CALM_LATENCY_S if self.is_healed else mix.latency_max_s)
        if not self.is_healed:
            chance = rng.random()
            if chance < mix.drop:
                return
            if chance < mix.drop + mix.duplicate:
                self.after(rng.random() * mix.late_max_s, self._by_id[message.to].deliver, message)
            if mix.late and rng.random() < mix.late:
                delay_s = rng.random() * mix.late_max_s
        self.after(delay_s, self._by_id[message.to].deliver, message)

    def draw_fsync_s(self, node: SimNode) -> float:
        """How long the next fsync takes; 0 means that nothing happens meanwhile."""
        if node.slow_disk_until_s > self.now_s:
            return self.rng.uniform(0.01, 0.6)
        return 0.0 if self.rng.random() < 0.5 else self.rng.uniform(0.0005, 0.01)

    def answer_left(self, node: SimNode) -> None:
        """Maybe ends the process at this very moment."""
        probability = self.mix.crash_after_answer
        if probability and not self.is_healed and self.rng.random() < probability:
            self.crash(node)

    def ask_database(self, node: SimNode, request: Callable[[Reply], None], reply: Reply) -> None:
        """Sends a request to the database and its answer back; either may meet a dead link."""

        def back(answer: Answer) -> None:
            reachable = node.database_blocked_until_s <= self.now_s
            self.after(self._latency_s(), reply, answer if reachable else Answer(Outcome.UNAVAILABLE, 0))

        if node.database_blocked_until_s > self.now_s:
            self.after(0.1, reply, Answer(Outcome.UNAVAILABLE, 0))
        else:
            self.after(self._latency_s(), request, back)

    def _latency_s(self) -> float:
        return self.rng.uniform(0.0005, 0.003)

    # Misfortunes

    def block(self, from_: str, to: str, duration_s: float) -> None:
        """Cuts one direction of a link."""
        self._blocked_until_s[from_, to] = self.now_s + duration_s

    def crash(self, node: SimNode, *, wipe: bool = False) -> None:
        """Ends a process and starts it again later."""
        node.crash(wipe=wipe)
        self.after(self.rng.choice((0.02, 0.2, 1.5)) * self.rng.random(), node.start)

    def heal(self) -> None:
        """Ends all faults; clocks keep their rates."""
        self.note("healed")
        self.is_healed = True
        self._blocked_until_s.clear()
        self.database.is_up = True
        for node in self.nodes:
            node.slow_disk_until_s = 0.0
            node.database_blocked_until_s = 0.0
            node.start()
            node.resume()

    def _strike(self) -> None:
        if self.is_healed:
            return
        self.after(self.rng.expovariate(1 / self.mix.fault_gap_s), self._strike)
        fault = self.rng.choice(self.mix.faults)
        leaders = [node for node in self.nodes if node.core is not None and node.core.role is Role.LEADER]
        aimed = leaders and self.rng.random() < self.mix.aims_at_leader
        node = self.rng.choice(leaders if aimed else self.nodes)
        self.note("fault", fault, node.id)
        self.inflict(fault, node, self.rng.choice((0.3, 1.2, 3.0)) * self.rng.uniform(0.3, 1.0))

    def inflict(self, fault: Fault, node: SimNode, duration_s: float) -> None:
        """Lets a fault strike now."""
        ids = [other.id for other in self.nodes]
        match fault:
            case Fault.ISOLATE:
                self._split([node.id], ids, duration_s)
            case Fault.PARTITION:
                self._split(self.rng.sample(ids, len(ids) // 2), ids, duration_s)
            case Fault.ONE_WAY:
                self.block(node.id, self.rng.choice(ids), duration_s)
            case Fault.MUTE:
                speaks = self.rng.random() < 0.5
                for other in ids:
                    self.block(*((node.id, other) if speaks else (other, node.id)), duration_s)
            case Fault.CUT:
                other = self.rng.choice(ids)
                self.block(node.id, other, duration_s)
                self.block(other, node.id, duration_s)
            case Fault.PAUSE:
                node.pause(duration_s)
            case Fault.CRASH:
                self.crash(node)
            case Fault.WIPE:
                self.crash(node, wipe=True)
            case Fault.SLOW_DISK:
                node.slow_disk_until_s = self.now_s + duration_s
            case Fault.DATABASE_OUTAGE:
                self.database.fail()
                self.after(duration_s, self._database_back)
            case Fault.DATABASE_UNREACHABLE:
                node.database_blocked_until_s = self.now_s + duration_s
            case Fault.TRANSFER:
                for leader in self.nodes:
                    leader.transfer(self.rng.choice(ids))
            case _:
                assert_never(fault)

    def _database_back(self) -> None:
        self.database.is_up = True

    def _split(self, side: list[str], ids: list[str], duration_s: float) -> None:
        for here in side:
            for there in ids:
                if there not in side:
                    self.block(here, there, duration_s)
                    self.block(there, here, duration_s)


def run_seed(
    seed: int,
    *,
    core_type: type[RaftCore] = RaftCore,
    node_type: type[SimNode] = SimNode,
    database_type: type[SimPostgres] = SimPostgres,
    trace: Callable[[str], None] | None = None,
) -> None:
    """Runs one seed. Raises InvariantViolation with the line that replays it."""
    rng = random.Random(seed)
    mix = draw_mix(rng)
    world = World(rng, mix, core_type=core_type, node_type=node_type, database_type=database_type, trace=trace)
    world.note(mix)
    try:
        world.run()
    except InvariantViolation as violation:
        raise InvariantViolation(f"{violation}\nreplay: {replay_line(seed)}") from None


def replay_line(seed: int) -> str:
    """The command that runs this seed again."""
    return f"python -m tests.simulation --seed {seed}"
