"""When a worker counts as dead, and when it must not."""

from dataclasses import replace

from comfysup.comfyui.worker import (
    IDLE,
    IDLE_UNPROVEN,
    LONGEST_STEP,
    STALLED,
    STALLED_UNPROVEN,
    Sign,
    Worker,
    tells_of_its_end,
)

ALL = frozenset({1, 2, 3})
LEFT = frozenset({1, 3})
STILL = Sign(0.0, None, 0, ALL, progress=False)


def stands(worker: Worker, sign: Sign, seconds: float) -> Worker:
    """Observe the same state for that many seconds."""
    begins = worker.at or 0.0
    for step in range(int(seconds / 5) + 2):
        worker = worker.after(replace(sign, at=begins + 5.0 * step))
    return worker


def ready() -> Worker:
    return Worker.of_ready(ALL)


def test_prompts_that_wait_behind_no_running_one_indicate_a_dead_worker() -> None:
    waits = replace(STILL, waiting=1, threads=LEFT)

    assert not stands(ready(), waits, IDLE - 7.5).has_died()
    assert stands(ready(), waits, IDLE).has_died()


def test_a_prompt_without_progress_indicates_a_dead_worker_later() -> None:
    runs = replace(STILL, running="a", threads=LEFT)

    assert not stands(ready(), runs, STALLED - 10).has_died()
    assert stands(ready(), runs, STALLED).has_died()


def test_a_worker_with_a_running_thread_is_never_dead() -> None:
    """A node that waits for the network; a custom node that pauses the queue."""
    assert not stands(ready(), replace(STILL, running="a"), 100 * STALLED).has_died()
    assert not stands(ready(), replace(STILL, waiting=3), 100 * STALLED).has_died()


def test_another_thread_that_ended_before_the_worker_took_a_prompt_proves_nothing() -> None:
    worker = ready().after(replace(STILL, threads=LEFT))
    worker = worker.after(Sign(1.0, "a", 0, LEFT, progress=True))

    assert not stands(worker, replace(STILL, running="a", threads=LEFT), 100 * STALLED).has_died()


def test_a_worker_that_died_of_its_first_prompt_is_detected() -> None:
    """Its thread existed at one observation and was missing at the next."""
    worker = ready().after(STILL).after(Sign(1.0, "a", 0, LEFT, progress=True))

    assert stands(worker, replace(STILL, running="a", threads=LEFT), STALLED).has_died()


def test_progress_restarts_the_standstill_time() -> None:
    runs = replace(STILL, running="a", threads=LEFT)
    worker = stands(ready(), runs, STALLED - 10)

    worker = worker.after(Sign(worker.at or 0.0, "a", 0, LEFT, progress=True))

    assert not stands(worker, runs, STALLED - 10).has_died()


def test_the_next_prompt_restarts_the_standstill_time() -> None:
    worker = stands(ready(), replace(STILL, running="a", threads=LEFT), STALLED - 10)

    assert not stands(worker, replace(STILL, running="b", threads=LEFT), STALLED - 10).has_died()


def test_time_without_observations_does_not_count() -> None:
    """The daemon was stopped, or the machine was."""
    runs = replace(STILL, running="a", threads=LEFT)
    worker = ready().after(runs).after(replace(runs, at=10_000.0))

    assert worker.standstill == LONGEST_STEP
    assert not worker.has_died()


def test_a_process_that_does_not_answer_shows_no_standstill() -> None:
    worker = stands(ready(), replace(STILL, waiting=1, threads=LEFT), IDLE).interrupted()

    assert not worker.has_died()


def test_an_empty_queue_does_not_mean_a_dead_worker() -> None:
    assert not stands(ready(), replace(STILL, threads=LEFT), 100 * STALLED).has_died()


def test_an_adopted_process_has_a_longer_standstill_limit() -> None:
    waits, runs = replace(STILL, waiting=1), replace(STILL, running="a")

    assert not stands(Worker(), waits, IDLE_UNPROVEN - 10).has_died()
    assert stands(Worker(), waits, IDLE_UNPROVEN).has_died()
    assert not stands(Worker(), runs, STALLED_UNPROVEN - 10).has_died()
    assert stands(Worker(), runs, STALLED_UNPROVEN).has_died()


def test_the_worker_of_an_adopted_process_is_identified_by_its_next_prompt() -> None:
    ran = replace(STILL, running="a")
    worker = Worker.of_adopted(ALL, "a").after(ran)
    assert worker.candidates is None

    worker = worker.after(replace(STILL, running="b", threads=LEFT))

    assert worker.candidates == ALL
    assert stands(worker, replace(STILL, running="b", threads=LEFT), STALLED).has_died()


def test_a_worker_is_identified_by_the_prompt_that_it_takes() -> None:
    worker = Worker().after(STILL).after(replace(STILL, running="a", threads=LEFT))

    assert stands(worker, replace(STILL, running="a", threads=LEFT), STALLED).has_died()


def test_a_logged_end_of_the_worker_shortens_the_limit() -> None:
    runs = replace(STILL, running="a", threads=LEFT)
    told = tells_of_its_end(["got prompt", "Exception in thread Thread-8 (prompt_worker):", "…"])

    assert told
    assert stands(ready(), runs, IDLE).has_died(logged=told)
    assert stands(Worker(), runs, IDLE).has_died(logged=told)
    assert not stands(ready(), replace(runs, threads=ALL), STALLED).has_died(logged=told)
    assert not tells_of_its_end(["Exception in thread Thread-3 (fetch)"])
