"""The `influxdb` sink: samples as line protocol."""
