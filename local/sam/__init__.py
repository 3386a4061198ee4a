"""What `sam local` needs to run the built functions in containers, against the local stack."""
