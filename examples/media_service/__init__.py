"""A real `media.MediaService`: files in SQLite and on disk, URLs signed as S3 does, events on RabbitMQ.

It stands in for the service that the proxy is put in front of, and behaves as its callers know it: failures are gRPC
OK with `success = false`, `model_type` is compared without regard to case, and there is neither reflection nor health.
"""
