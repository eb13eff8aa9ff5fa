"""systemctl, for the updater under test: passes its arguments to the rig's manager of the service.

python -S systemctl.py SOCKET ARGUMENT…
"""

import socket
import sys

with socket.socket(socket.AF_UNIX) as door:
    door.connect(sys.argv[1])
    door.sendall("\0".join(sys.argv[2:]).encode())
    door.shutdown(socket.SHUT_WR)
    said = b""
    while chunk := door.recv(4096):
        said += chunk
sys.stdout.write(said.decode())
