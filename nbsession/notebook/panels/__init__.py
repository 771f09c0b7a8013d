"""What stands beside the conversation: the knobs' controls, and tables of sessions, ticks, forks and components."""
