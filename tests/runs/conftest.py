"""Settings of the property tests of this folder."""

from hypothesis import settings

# A loaded machine makes single examples slow; pytest's own timeout bounds the whole test.
settings.register_profile("runs", deadline=None)
settings.load_profile("runs")
