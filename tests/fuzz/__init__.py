"""Every parser of what devices say, fed with what no device should say.

A parser is given answers that were true once and then damaged, cut, joined, or are noise. It may refuse them, in its
own words and in no other way; what it takes must bear its own checksum, by a judge that shares no code with it.
"""
