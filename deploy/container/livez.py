"""The container's health check: exit code 0 if the server of this container answers /livez within 3 seconds."""

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

try:
    with urlopen(f"http://127.0.0.1:{os.environ.get('PORT') or '8000'}/livez", timeout=3):
        pass
except (URLError, OSError) as error:
    sys.exit(f"The server does not answer: {error}")
