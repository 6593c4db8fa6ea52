"""What tests of metricsmith and of parts made for it share: contract harness, real servers, clocks."""
