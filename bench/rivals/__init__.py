"""What a user would run instead: plain torch as a good user writes it, and the named libraries where they install."""
