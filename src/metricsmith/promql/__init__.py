"""PromQL: text → tree (lexer, parser) → plan → vectorised execution over S×T arrays."""
