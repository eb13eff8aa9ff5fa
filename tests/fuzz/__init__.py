"""Every parser of what devices and strangers say, fed with what none should say: `python -m tests.fuzz`.

A target takes one random input: something true that is then damaged, cut or joined, or noise. The parser may refuse it,
in its own words and in no other way; what it takes must keep what the parser promises. For a reading that is its
checksum and its range, by a judge that shares no code with the parser.
"""
