"""A bare Debian, booted, without internet: provision.sh for real, from the bundle to the first alert outside of it.

python -m tests.provision     as root; some minutes, and some more the first time
"""
