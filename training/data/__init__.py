"""Data: tables read, inspected, checked, encoded and split."""
