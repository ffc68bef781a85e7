"""proxy.telemetry.queue_depths: what RabbitMQ said of our queues when it was asked last."""

from proxy.telemetry.queue_depths import QueueDepth, QueueDepths


def test_a_queue_is_as_it_was_said_last_and_gone_once_it_is_missing() -> None:
    times = iter((1.0, 2.0, 5.0, 6.0))
    depths = QueueDepths(times.__next__)
    depths.told("uploaded", 3, 1)
    depths.told("uploaded", 7, 2)
    assert depths() == [QueueDepth("uploaded", 7, 2, 3.0)]
    depths.missing("uploaded")
    assert depths() == []
