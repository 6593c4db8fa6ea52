"""The words of PromQL and its selectors, which settings and requests hold as well as queries."""
