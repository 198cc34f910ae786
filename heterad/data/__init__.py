"""Tasks and episodes, the paper's protocol, and real data that need no download."""
