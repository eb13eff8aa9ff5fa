"""Hardware in the loop: one suite for whatever a profile names, on a bench with a real board or with what acts one.

python -m tests.hil --profile my-box.toml     this board, and what is connected to it
python -m tests.hil --here                    servers, terminals and files of this machine, as on every test run
python -m tests.hil --guest                   a virtual machine with the kernel's own camera, GPIO lines and I2C bus

A profile is a gateway.toml with a table [hil], see `tests.hil.profile`. `GATEWAY_HIL_CONFIG=my-box.toml
python -m pytest -m hil` runs the same without a report.
"""
