"""A real `media.MediaService`: files in SQLite and on disk, URLs signed as S3 does, events on RabbitMQ.

It stands in for the service behind the proxy, and behaves like it: failures are gRPC OK with `success = false`,
`model_type` is compared case-insensitively, and there is no reflection and no health service.
"""
