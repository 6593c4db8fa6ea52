"""The `kafka` source: what no exporter gives of a Kafka cluster, at a cost that grows with brokers."""
