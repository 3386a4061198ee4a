"""What a build holds: its hash, sizes and imports against their budgets, its bill of materials and its licences."""
