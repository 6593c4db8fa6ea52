"""The store that is an InfluxDB: read by InfluxQL, written by the sink `influxdb`."""
