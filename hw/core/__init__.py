"""Memory to token: commands, movers, scratch memory, registers."""
