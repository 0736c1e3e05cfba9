"""Where the workers of a trial ask what to do next, and the driver answers between two of their measurements."""

import queue
from collections.abc import Sequence
from typing import Final, Self, cast, final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from transmeta.core import codec
from transmeta.execution.watch import Order, Question

CALLS: Final = 32
"""Calls that a desk takes at once: each start of the workers may leave one behind that nobody waits for."""


@final
class Orders:
    """The desk as its callers see it; it may be sent to workers."""

    def __init__(self, desk: ActorHandle["Desk"]) -> None:
        self._desk = desk

    @classmethod
    def open(cls) -> Self:
        """Returns a desk of its own, until `dismiss`; on the driver's node, as no other's loss may end the trial."""
        here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=False)
        options = ray.remote(Desk).options(num_cpus=0, max_concurrency=CALLS, scheduling_strategy=here)
        return cls(cast(ActorHandle[Desk], options.remote()))

    def enter(self) -> None:
        """Notes the worker that calls this, if it is one: Ray Train may run its loop in the driver too."""
        context = ray.get_runtime_context()
        if context.get_actor_id() is not None:
            ray.get(self._desk.enter.remote([context.current_actor]))

    def ask(self, question: Question) -> Order:
        """Returns what the driver orders, once it does."""
        return Order(cast(str, ray.get(self._desk.ask.remote(codec.dumps(question)))))

    def next(self) -> Question | None:
        """Returns the next question, once there is one; None when there will be no other."""
        asked = self._next()
        return None if asked is None else codec.loads(Question, asked)

    def _next(self) -> str | None:  # by itself: to Ray's types, whatever follows a call is unreachable
        return cast(str | None, ray.get(self._desk.next.remote()))

    def answer(self, order: Order) -> None:
        """Answers the question that `next` returned."""
        ray.get(self._desk.answer.remote(order.value))

    def finish(self) -> None:
        """Ends `next`: the run is over. Does not wait."""
        self._desk.finish.remote()

    def close(self) -> Sequence[ActorHandle[object]]:
        """Orders whoever asks to end, now and later, and returns all workers that have ever entered."""
        return cast(Sequence[ActorHandle[object]], ray.get(self._desk.close.remote()))

    def dismiss(self) -> None:
        """Ends the desk."""
        ray.kill(self._desk)


@final
class Desk:
    """Where the workers of a trial ask and the driver answers; an actor that takes several calls at once."""

    def __init__(self) -> None:
        self._questions: queue.SimpleQueue[tuple[str, queue.SimpleQueue[str]] | None] = queue.SimpleQueue()
        self._asker: queue.SimpleQueue[str] | None = None
        self._workers: list[ActorHandle[object]] = []
        self._is_closed = False

    def enter(self, worker: list[ActorHandle[object]]) -> None:
        """Notes a worker, in a list because Ray would take a bare handle for a value to wait for."""
        self._workers += worker

    def ask(self, asked: str) -> str:
        """Returns the `Order` that the driver gives on the `Question` (JSON)."""
        if self._is_closed:
            return Order.END.value
        asker: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._questions.put((asked, asker))
        return asker.get()

    def next(self) -> str | None:
        """Returns the next question, None when there will be no other."""
        question = self._questions.get()
        if question is None:
            return None
        asked, self._asker = question
        return asked

    def answer(self, order: str) -> None:
        """Answers the question that `next` returned."""
        if self._asker is not None:
            self._asker.put(order)

    def finish(self) -> None:
        """Ends `next`: the run is over."""
        self._questions.put(None)

    def close(self) -> list[ActorHandle[object]]:
        """Orders whoever asks to end, now and later, and returns all workers that have ever entered."""
        self._is_closed = True
        self.answer(Order.END.value)
        while not self._questions.empty():
            if (question := self._questions.get()) is not None:
                question[1].put(Order.END.value)
        return self._workers
