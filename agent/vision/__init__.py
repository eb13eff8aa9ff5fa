"""From pictures to what happened: motion, detection, tracking, rules; one thread a camera."""

import cv2

# The pictures worked on here are small: handing them to OpenCV's own threads costs more than it saves, and cameras
# have threads of their own.
cv2.setNumThreads(1)
