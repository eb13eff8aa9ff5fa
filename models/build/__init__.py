"""The recipe of the bundled model packs: registry packages in, `models/NAME/` out, the same bytes every time.

Never part of the agent: it needs TensorFlow and the tools of `requirements.txt`. See models/README.md.
"""
