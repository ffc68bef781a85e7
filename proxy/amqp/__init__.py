"""Media events from RabbitMQ: queues, deliveries, and when some may have been missed."""
