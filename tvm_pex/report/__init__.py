"""What people look at: tables, maps and plots."""
