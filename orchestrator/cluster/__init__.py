"""Who leads. Today a node alone (`leadership.SoleLeadership`); the duties see only the `Leadership` protocol."""
