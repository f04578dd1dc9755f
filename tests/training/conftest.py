"""Small models fit faster on one thread than on several that compete with other tests."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
