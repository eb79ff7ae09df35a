"""The shapes of answers, and how the facts of the daemon become them."""
