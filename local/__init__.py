"""What runs on a developer's machine: a Plaid server, the stack on an AWS emulator, and the demo over both."""
