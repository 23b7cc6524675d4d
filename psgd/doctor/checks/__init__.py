"""What psgd doctor checks, a file for each subject. The table of checks is doctor/table.py."""
