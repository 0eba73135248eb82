"""The agent: config sync, code watch and the console, each of which may fail alone."""

import logging

log = logging.getLogger(__name__)
