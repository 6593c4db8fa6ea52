"""Recording and alerting rules: files, evaluation, state, notification."""
