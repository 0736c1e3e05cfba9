from transmeta.core.trial import Measurement
from transmeta.execution.watch import Order, Question, TrialWatch
from transmeta.testing.executor_cases import RecordingSearch, probe

SPEC = probe()


def measured(ninths: int, *, value: float = 0.5) -> Measurement:
    return Measurement(
        epoch=ninths,
        progress=ninths / 9,
        progress_before=(ninths - 1) / 9,
        value=value,
        train_loss=1.0,
        cost_s=float(ninths),
        wall_s=float(ninths),
    )


def curve(ninths: int, *, value: float = 0.5) -> tuple[Measurement, ...]:
    return tuple(measured(k, value=value) for k in range(1, ninths + 1))


def watch(*, stopped_at: float | None = None) -> tuple[TrialWatch, RecordingSearch]:
    search = RecordingSearch([SPEC], stopped_at={} if stopped_at is None else {SPEC.id: stopped_at})
    search.ask(count=1)
    return TrialWatch(SPEC, search), search


def test_each_measurement_is_reported_once_though_the_whole_curve_is_shown_every_time() -> None:
    watched, search = watch()

    orders = [watched.hear(Question(curve=curve(k))) for k in (0, 1, 2, 3)]

    assert orders == [Order.GO_ON] * 4
    assert search.reported[SPEC.id] == [*curve(3)]


def test_what_was_measured_before_a_loss_counts_and_not_its_repetition() -> None:
    watched, search = watch()
    watched.hear(Question(curve=curve(3)))

    watched.hear(Question(curve=curve(1)))
    watched.hear(Question(curve=curve(4, value=0.7)))

    assert watched.curve == (*curve(3), measured(4, value=0.7))
    assert search.reported[SPEC.id] == [*watched.curve]


def test_a_verdict_stands_for_a_trial_that_starts_over() -> None:
    watched, _ = watch(stopped_at=2 / 9)

    assert watched.hear(Question(curve=curve(1))) is Order.GO_ON
    assert watched.hear(Question(curve=curve(2))) is Order.STOP
    assert watched.hear(Question()) is Order.STOP


def test_what_one_worker_failed_of_alone_ends_the_trial_wherever_it_starts_over() -> None:
    watched, _ = watch()

    assert watched.hear(Question(failure="out of memory")) is Order.END
    assert watched.hear(Question(curve=curve(1))) is Order.END
    assert watched.failure == "out of memory"
