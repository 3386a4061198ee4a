"""What the emulator's CloudWatch lacks: metrics from logs and services, alarms as AWS evaluates them, and their clock.

Runs in the emulator's process and interpreter (`local.stack.serve` installs it), so it imports the standard library and
the emulator only. Functions and template do not know of it.
"""
