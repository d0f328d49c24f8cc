"""The stubs are generated before a test module imports them."""

import generate

generate.generate()
