"""Messages of Kafka's protocol that kafka-python does not have, in Kafka's schema format."""
