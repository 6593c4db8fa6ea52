"""Files for deployment and monitoring, made from the configuration and from what integrations declare."""
