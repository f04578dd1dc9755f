"""The command line of the people who run a deployment: `python -m ops --help`."""
