"""The local cloud: the synthesised cloud assembly, running on this machine."""
