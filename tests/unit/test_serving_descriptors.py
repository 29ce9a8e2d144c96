import subprocess
import sys

from router_serving.descriptors import RESERVED, file_limit_warning

ASK = """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), min(1024, hard)))
from router_serving.descriptors import raised_file_limit
print(raised_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_is_raised_as_far_as_the_system_permits() -> None:
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    told, soft, hard = done.stdout.split()
    assert told == soft == hard


def test_files_beside_the_connections_count() -> None:
    assert file_limit_warning(4096 + RESERVED, max_connections=4096) is None
    assert "4095" in str(file_limit_warning(4095, max_connections=4096))
